"""What a spool finds on the disk that no process of ours would leave there while it lives."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from appliance.config.schema import SpoolConfig
from appliance.infra.spool.folder import Folder, claim, process_folders
from appliance.infra.spool.frames import MAX_RECORD_BYTES, frame
from appliance.infra.spool.housekeeping import clear
from appliance.infra.spool.journal import Journal
from appliance.infra.spool.spool import Spool
from appliance.infra.spool.writer import Writer
from tests.fakes.exchanges import exchange

FAST = SpoolConfig(sync_interval_s=0.01)


async def _until(claim: Callable[[], bool]) -> None:
    for _ in range(6000):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def _left(root: Path, *, acked: int, torn: bytes = b"") -> Folder:
    """The directory of a killed process: three records, of which `acked` are, then `torn`."""
    folder = claim(root)
    frames = [frame(msgspec.json.encode(exchange(number))) for number in range(3)]
    folder.segment(1).write_bytes(b"".join(frames) + torn)
    folder.write_progress(1, sum(map(len, frames[:acked])))
    folder.release()
    return folder


async def test_a_directory_with_nothing_left_to_ship_goes_whoever_ships(tmp_path: Path) -> None:
    left = _left(tmp_path, acked=3)
    async with Spool(tmp_path, FAST) as spool:
        await _until(lambda: not left.path.exists())
        assert (spool.stats().depth_records, spool.stats().depth_bytes) == (0, 0)


async def test_so_does_one_with_nothing_left_but_a_torn_record(tmp_path: Path) -> None:
    left = _left(tmp_path, acked=3, torn=b"\x40\0\0\0half a rec")
    async with Spool(tmp_path, FAST) as spool:
        await _until(spool.wake.is_set)
        assert await spool.take(10) == []
        await _until(lambda: not left.path.exists())
        assert spool.stats().torn == 1


async def test_names_that_only_look_like_numbers_stop_nothing(tmp_path: Path) -> None:
    left = _left(tmp_path, acked=2)
    (tmp_path / "²-folder").mkdir()
    (left.path / "².seg").write_bytes(b"x")
    async with Spool(tmp_path, FAST) as spool:
        assert spool.keep(exchange(10))
        await _until(lambda: spool.wake.is_set() and spool.stats().depth_records == 2)
        assert [t.exchange() for t in await spool.take(10)] == [exchange(2)]


async def test_housekeeping_goes_on_after_an_error_nobody_foresaw(tmp_path: Path) -> None:
    failures = 0
    broken = False

    def wall() -> float:
        nonlocal failures
        if broken:
            failures += 1
            raise RuntimeError("a bug")
        return 1_795_000_000.0

    async with Spool(tmp_path, FAST, wall) as spool:
        await _until(spool.wake.is_set)  # it has looked for others
        spool.keep(exchange(1))
        (ticket,) = await spool.take(1)
        broken = True
        spool.acked(ticket)
        await _until(lambda: failures > 1)
        (folder,) = process_folders(tmp_path)
        broken = False
        await _until((folder / "progress").exists)
    assert process_folders(tmp_path) == []


def test_what_cannot_be_deleted_now_is_deleted_later(tmp_path: Path) -> None:
    journal = Journal(claim(tmp_path))
    stubborn, other = journal.folder.segment(1), journal.folder.segment(2)
    stubborn.mkdir()
    other.write_bytes(b"x")
    journal.trash = [stubborn, other]
    with pytest.raises(OSError, match="directory"):
        clear(journal)
    stubborn.rmdir()
    clear(journal)
    assert (other.exists(), journal.trash) == (False, [])


def test_a_record_that_no_reader_takes_is_refused(tmp_path: Path) -> None:
    writer = Writer(Journal(claim(tmp_path)), 4096)
    with pytest.raises(OSError, match=os.strerror(27)):
        writer.append(bytes(MAX_RECORD_BYTES + 1), exchange(1))
    assert list(tmp_path.glob("*/*.seg")) == []
