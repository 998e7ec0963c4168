"""Somebody deletes a stream or a consumer, or changes a table, amid fifty streams a second."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from appliance.domain.events.durables import DURABLES
from appliance.infra.postgres.migrate import MIGRATIONS, migrate
from tests.e2e.faults.claim import Excuses, require_kept
from tests.e2e.faults.faulty import Faulty
from tests.e2e.faults.streams import (
    delete_durable,
    delete_stream,
    delete_with_unconsumed,
    wait_consumed,
    wait_unconsumed,
)
from tests.fakes.load import Load

Traffic = Callable[[], Load]
LOCKED_S = 1.0
ONE_MORE = """
ALTER TABLE chat_history ADD COLUMN note text;
CREATE INDEX chat_history_note ON chat_history (note);
"""


def test_a_stream_deleted_at_rest_costs_no_row(appliance: Faulty, traffic: Traffic) -> None:
    with traffic() as before:
        before.wait_answered(30)
    require_kept(appliance.dsn, before.asked)
    wait_consumed(appliance.nats)
    delete_stream(appliance.nats)
    with traffic() as after:
        after.wait_answered(30)
    require_kept(appliance.dsn, [*before.asked, *after.asked])


def test_a_stream_deleted_under_load_costs_what_was_in_it_and_nothing_else(
    appliance: Faulty, traffic: Traffic
) -> None:
    with traffic() as load:
        load.wait_answered(30)
        appliance.freeze("consumer")
        wait_unconsumed(appliance.nats, "chat_history", 30)
        appliance.freeze("gateway")
        lost = delete_with_unconsumed(appliance.nats)
        appliance.thaw("gateway")
        appliance.thaw("consumer")
        load.wait_answered(50)
    assert len(lost["chat_history"]) >= 30
    require_kept(appliance.dsn, load.asked, Excuses(lost=lost))


def test_durables_deleted_by_hand_cost_no_row(appliance: Faulty, traffic: Traffic) -> None:
    with traffic() as load:
        for durable in DURABLES.values():
            load.wait_answered(20)
            delete_durable(appliance.nats, durable.name)
        load.wait_answered(20)
    require_kept(appliance.dsn, load.asked)


async def test_a_migration_under_load_costs_no_answer_and_no_row(
    appliance: Faulty, traffic: Traffic, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    (folder / "9999_one_more.sql").write_text(ONE_MORE)
    with traffic() as load:
        load.wait_answered(30)
        with _reading_for(appliance.dsn, LOCKED_S):
            applied = await migrate(appliance.dsn, folder=folder)
        load.wait_answered(30)
    assert applied == ["9999_one_more.sql"]
    require_kept(appliance.dsn, load.asked)


@contextmanager
def _reading_for(dsn: str, seconds: float) -> Iterator[None]:
    """A session that holds a lock on chat_history for `seconds`: the migration waits for it, and
    every batch behind the migration."""
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE chat_history IN ACCESS SHARE MODE")
        timer = threading.Timer(seconds, connection.rollback)
        timer.start()
        yield
        timer.join()
