"""Parts are killed and frozen amid fifty streams a second: nothing answered is lost or doubled."""

import time
from collections.abc import Callable

import pytest

from tests.e2e.faults.claim import Excuses, require_kept
from tests.e2e.faults.faulty import Faulty
from tests.fakes.appliance import Appliance
from tests.fakes.load import Load

Traffic = Callable[[], Load]


@pytest.mark.parametrize("part", ["nats", "postgres", "consumer", "inference"])
def test_a_killed_part_costs_no_answer_and_no_row(
    appliance: Faulty, running: Appliance, traffic: Traffic, part: str
) -> None:
    with traffic() as load:
        load.wait_answered(30)
        appliance.kill_and_wait(part)
        load.wait_answered(30)
    require_kept(appliance.dsn, load.asked)
    assert f"{part:<12} died (signal SIGKILL): restarting" in running.output


def test_a_killed_gateway_keeps_what_it_answered(appliance: Faulty, traffic: Traffic) -> None:
    with traffic() as load:
        for _ in range(3):
            load.wait_answered(30)
            appliance.kill_and_wait("gateway")
        load.wait_answered(30)
    require_kept(appliance.dsn, load.asked, Excuses(appliance.kills))


@pytest.mark.parametrize("part", ["gateway", "nats", "postgres", "consumer"])
def test_a_frozen_part_costs_no_answer_and_no_row(
    appliance: Faulty, traffic: Traffic, part: str
) -> None:
    with traffic() as load:
        load.wait_answered(30)
        appliance.freeze(part)
        time.sleep(3)
        appliance.thaw(part)
        load.wait_answered(30)
    require_kept(appliance.dsn, load.asked)
