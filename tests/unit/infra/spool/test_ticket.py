from pathlib import Path

import pytest

from appliance.infra.spool.journal import RecordGone
from tests.fakes.exchanges import exchange
from tests.fakes.tickets import ticket


async def test_a_record_that_was_let_go_is_read_again(tmp_path: Path) -> None:
    made = ticket(tmp_path, exchange(1))
    before = made.payload
    made.cool()
    made.cool()
    assert made.cold
    await made.warm()
    assert made.payload == before
    assert made.exchange() == exchange(1)


async def test_one_that_is_at_hand_needs_no_disk(tmp_path: Path) -> None:
    made = ticket(tmp_path, exchange(1))
    made.segment.path.unlink()
    await made.warm()
    assert made.exchange() == exchange(1)


async def test_damage_and_deletion_are_told_apart_from_a_failing_disk(tmp_path: Path) -> None:
    damaged, deleted, failing = (ticket(tmp_path, exchange(n)) for n in range(3))
    for made in (damaged, deleted, failing):
        made.cool()
    data = bytearray(damaged.segment.path.read_bytes())
    data[20] ^= 1
    damaged.segment.path.write_bytes(data)
    deleted.segment.path.unlink()
    failing.segment.path.unlink()
    failing.segment.path.mkdir()
    with pytest.raises(RecordGone, match="damaged"):
        await damaged.warm()
    with pytest.raises(RecordGone, match="deleted"):
        await deleted.warm()
    with pytest.raises(OSError, match="directory"):
        await failing.warm()
