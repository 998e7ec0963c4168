"""Parts are away for longer than their clients' patience, or come back without their memory."""

import time
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.asking import question
from tests.e2e.faults.claim import Excuses, require_kept
from tests.e2e.faults.faulty import Faulty
from tests.e2e.faults.streams import wait_consumed
from tests.fakes.appliance import Appliance
from tests.fakes.load import Load

Traffic = Callable[[], Load]
# Twice what it takes until a client gives a silent NATS up, and three times `ack_wait_s`.
LONG_S = 9.0
PATIENCE_S = 30.0  # of a client that asks for knowledge while a part hangs


def test_nats_and_postgres_away_together_cost_no_answer_and_no_row(
    appliance: Faulty, traffic: Traffic
) -> None:
    with traffic() as load:
        load.wait_answered(30)
        appliance.freeze("nats")
        appliance.freeze("postgres")
        time.sleep(LONG_S)
        appliance.thaw("nats")
        appliance.thaw("postgres")
        load.wait_answered(30)
    require_kept(appliance.dsn, load.asked)


def test_nats_back_without_its_store_costs_no_answer_and_no_row(
    appliance: Faulty, running: Appliance, traffic: Traffic
) -> None:
    """What was consumed is a row, and what was not acked is in the spool."""
    store = running.state / "nats" / "jetstream"
    with traffic() as load:
        load.wait_answered(30)
        appliance.freeze("gateway")
        wait_consumed(appliance.nats)
        pid = appliance.kill("nats")
        store.rename(store.with_name("gone"))
        running.wait_restarted("nats", pid)
        appliance.thaw("gateway")
        load.wait_answered(50)
    require_kept(appliance.dsn, load.asked)


@pytest.mark.parametrize("part", ["inference", "postgres"])
def test_rag_answers_without_its_parts(appliance: Faulty, running: Appliance, part: str) -> None:
    appliance.freeze(part)
    body = question("with knowledge?", x_route="rag") | {"model": "once"}
    response = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=PATIENCE_S)
    appliance.thaw(part)
    assert response.status_code == 200
    assert response.headers["x-rag"] == f"degraded:{part}"


def test_everything_killed_at_once_keeps_what_was_answered(
    appliance: Faulty, running: Appliance, traffic: Traffic
) -> None:
    """`up` itself, and all its parts with it."""
    with traffic() as load:
        load.wait_answered(30)
        appliance.kill_everything()
        running.start()
        load.wait_answered(30)
    require_kept(appliance.dsn, load.asked, Excuses(appliance.kills))
