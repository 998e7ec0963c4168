"""Rows that must not be there: remembered until PostgreSQL deletes them, as many as fit."""

from appliance.domain.responses.rows import MAX_UNWANTED, Rows
from appliance.domain.responses.tasks import Tasks
from tests.fakes.responses import MemoryResponses
from tests.fakes.stored_responses import response


class Deleting(MemoryResponses):
    """Writes down what it was asked to delete."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []

    async def delete(self, response_id: str) -> bool:
        self.deleted.append(response_id)
        return await super().delete(response_id)


def _ignored(event: str, error: BaseException, identity: object = None) -> None:
    """Nothing reads it here."""


async def test_however_long_postgresql_is_away_only_so_many_are_remembered_the_newest() -> None:
    store = Deleting()
    rows = Rows(store, Tasks(_ignored), store_s=60, lease_s=60, report=_ignored)
    store.away = True
    for number in range(MAX_UNWANTED + 2):
        assert not await rows.create(response(str(number), status="in_progress"))
    store.away = False
    await rows.delete_unwanted()
    assert store.deleted == [f"resp_{number}" for number in range(2, MAX_UNWANTED + 2)]
    await rows.delete_unwanted()
    assert len(store.deleted) == MAX_UNWANTED
