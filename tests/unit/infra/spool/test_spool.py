import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config.schema import SpoolConfig
from appliance.domain.events.exchange import Exchange
from appliance.infra.spool.folder import process_folders, read_progress
from appliance.infra.spool.journal import Ticket
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange

FAST = SpoolConfig(sync_interval_s=0.01)
SMALL = SpoolConfig(sync_interval_s=0.01, max_bytes=65536, segment_bytes=4096)


async def _take(spool: Spool, count: int) -> list[Ticket]:
    """`count` tickets, as soon as the spool gives them."""
    taken: list[Ticket] = []
    async with asyncio.timeout(60):
        while len(taken) < count:
            got = await spool.take(count - len(taken))
            taken += got
            await asyncio.sleep(0 if got else 0.005)
    return taken


async def _until(claim: Callable[[], bool]) -> None:
    for _ in range(6000):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/*.seg"))


def _text(directory: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in _segments(directory))


def _exchanges(tickets: list[Ticket]) -> list[Exchange]:
    return [ticket.exchange() for ticket in tickets]


async def test_what_is_kept_comes_out_in_order_and_equal(tmp_path: Path) -> None:
    kept = [exchange(number) for number in range(20)]
    async with Spool(tmp_path, FAST) as spool:
        assert all(spool.keep(e) for e in kept)
        assert _exchanges(await _take(spool, 20)) == kept
        assert await spool.take(1) == []


async def test_a_record_is_on_disk_when_keep_returns(tmp_path: Path) -> None:
    async with Spool(tmp_path, FAST) as spool:
        spool.keep(exchange(1))
        assert exchange(1).trace_id in _text(tmp_path)


async def test_a_backlog_is_read_from_the_files_and_not_held_in_memory(tmp_path: Path) -> None:
    kept = [exchange(number, size=4000) for number in range(3000)]
    async with Spool(
        tmp_path, SpoolConfig(segment_bytes=256 * 1024, sync_interval_s=0.01)
    ) as spool:
        assert all(spool.keep(e) for e in kept)
        (journal,) = spool._journals()
        assert len(journal._hot) < 300
        seen = []
        while len(seen) < len(kept):
            await asyncio.sleep(0)
            for ticket in await spool.take(64):
                seen.append(ticket.exchange().trace_id)
                spool.acked(ticket)
        assert seen == [e.trace_id for e in kept]
        assert spool.stats().depth_records == 0


async def test_one_record_that_is_stuck_keeps_none_of_those_behind_it_in_memory(
    tmp_path: Path,
) -> None:
    async with Spool(tmp_path, FAST) as spool:
        for number in range(1000):
            assert spool.keep(exchange(number))
        stuck, *others = await _take(spool, 1000)
        for ticket in others:
            spool.acked(ticket)
        (journal,) = spool._journals()
        assert list(journal._open) == [stuck]
        assert spool.stats().depth_records == 1
        await _until(lambda: read_progress(journal.folder.path) == (1, stuck.start))
        spool.acked(stuck)
        await _until(lambda: read_progress(journal.folder.path) == (1, others[-1].after))


async def test_reading_meets_writing_across_segments(tmp_path: Path) -> None:
    seen: list[str] = []
    async with Spool(tmp_path, SMALL) as spool:
        for number in range(300):
            assert spool.keep(exchange(number, size=number * 7 % 2000)), spool.degraded
            if number % 5 == 4:
                for ticket in await _take(spool, 5):
                    seen.append(ticket.exchange().trace_id)
                    spool.acked(ticket)
                await asyncio.sleep(0)
    assert seen == [exchange(number).trace_id for number in range(300)]
    assert process_folders(tmp_path) == []


async def test_a_segment_goes_when_all_its_records_are_acked(tmp_path: Path) -> None:
    async with Spool(tmp_path, SMALL) as spool:
        for number in range(20):
            spool.keep(exchange(number, size=800))
        segments = len(_segments(tmp_path))
        tickets = await _take(spool, 20)
        for ticket in tickets[1:]:
            spool.acked(ticket)
        await asyncio.sleep(0.05)
        assert len(_segments(tmp_path)) == segments
        spool.acked(tickets[0])
        await _until(lambda: len(_segments(tmp_path)) == 1)


async def test_a_full_spool_refuses_counts_and_recovers_by_itself(tmp_path: Path) -> None:
    async with Spool(tmp_path, SMALL) as spool:
        kept = 0
        while spool.keep(exchange(kept, size=1000)):
            kept += 1
        assert 20 < kept < 70
        assert "full" in spool.degraded
        assert spool.stats().not_kept == 1
        for ticket in await _take(spool, kept):
            spool.acked(ticket)
        await _until(lambda: not spool.degraded)
        assert spool.keep(exchange(1000))


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    """The kernel cuts every write at this offset, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


async def test_a_half_written_record_is_cut_off_again(tmp_path: Path, file_size_limit: int) -> None:
    async with Spool(tmp_path, FAST) as spool:
        kept = 0
        while spool.keep(exchange(kept, size=1000)):
            kept += 1
        assert "cannot be written" in spool.degraded
        assert not spool.keep(exchange(kept, size=1000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        assert spool.keep(exchange(kept))
        assert spool.degraded == ""
        assert spool.stats().not_kept == 2
        tickets = await _take(spool, kept + 1)
        assert [t.exchange().trace_id for t in tickets] == [
            exchange(number).trace_id for number in range(kept + 1)
        ]


async def test_a_directory_that_cannot_be_made_degrades_and_does_not_raise() -> None:
    async with Spool(Path("/proc/nobody/may"), FAST) as spool:
        assert not spool.keep(exchange(1))
        assert "cannot be used" in spool.degraded


async def test_what_cannot_be_json_is_refused_and_does_not_raise(tmp_path: Path) -> None:
    async with Spool(tmp_path, FAST) as spool:
        assert not spool.keep(exchange(1, answer="\ud800"))
        assert not spool.keep(exchange(1, params={"x": object()}))
        assert spool.keep(exchange(2))


KILLED = """
import asyncio, os, sys
from pathlib import Path
from appliance.config.schema import SpoolConfig
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange

async def main():
    async with Spool(Path(sys.argv[1]), SpoolConfig()) as spool:
        for number in range(int(sys.argv[2])):
            assert spool.keep(exchange(number))
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def _killed_after(directory: Path, count: int) -> None:
    """Another process keeps `count` exchanges and is killed with the next instruction."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(directory), str(count)], check=False)
    assert done.returncode == -9


async def test_the_next_process_adopts_what_a_killed_one_left(tmp_path: Path) -> None:
    _killed_after(tmp_path, 50)
    async with Spool(tmp_path, FAST) as spool:
        spool.keep(exchange(50))
        tickets = await _take(spool, 51)
        assert _exchanges(tickets) == [exchange(number) for number in range(51)]
        assert spool.stats().depth_records == 51
        assert spool.stats().oldest_age_s > 0
        for ticket in tickets:
            spool.acked(ticket)
        await _until(lambda: len(process_folders(tmp_path)) == 1)


async def test_progress_of_a_killed_process_is_not_shipped_again(tmp_path: Path) -> None:
    _killed_after(tmp_path, 10)
    async with Spool(tmp_path, FAST) as spool:
        for ticket in (await _take(spool, 10))[:6]:
            spool.acked(ticket)
        await asyncio.sleep(0.05)
    async with Spool(tmp_path, FAST) as spool:
        assert _exchanges(await _take(spool, 4)) == [exchange(n) for n in range(6, 10)]
        assert spool.stats().depth_records == 4


async def test_a_torn_record_is_dropped_and_counted(tmp_path: Path) -> None:
    _killed_after(tmp_path, 3)
    (segment,) = _segments(tmp_path)
    os.truncate(segment, segment.stat().st_size - 5)
    async with Spool(tmp_path, FAST) as spool:
        for ticket in await _take(spool, 2):
            spool.acked(ticket)
        await _until(lambda: len(process_folders(tmp_path)) == 1)
        assert (spool.stats().torn, spool.stats().depth_records) == (1, 0)


async def test_a_living_process_keeps_its_directory(tmp_path: Path) -> None:
    async with Spool(tmp_path, FAST) as living, Spool(tmp_path, FAST) as other:
        living.keep(exchange(1))
        await asyncio.sleep(0.1)
        assert await other.take(1) == []
        assert len(process_folders(tmp_path)) == 2


async def test_a_clean_end_leaves_unshipped_records_and_no_empty_directory(tmp_path: Path) -> None:
    async with Spool(tmp_path, FAST) as spool:
        spool.keep(exchange(1))
    assert len(process_folders(tmp_path)) == 1
    async with Spool(tmp_path, FAST) as spool:
        spool.acked((await _take(spool, 1))[0])
    assert process_folders(tmp_path) == []


def _poisoned(directory: Path) -> dict[str, Any]:
    line: dict[str, Any] = msgspec.json.decode((directory / "poison.jsonl").read_bytes())
    return line


async def test_poison_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    async with Spool(tmp_path, FAST) as spool:
        spool.keep(exchange(1))
        await spool.poison((await _take(spool, 1))[0], "too large")
        assert (spool.stats().poisoned, spool.stats().depth_records) == (1, 0)
    line = _poisoned(tmp_path)
    assert line["reason"] == "too large"
    assert line["exchange"]["trace_id"] == exchange(1).trace_id
