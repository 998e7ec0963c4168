from pathlib import Path

import msgspec

from appliance.config.schema import SpoolConfig
from appliance.infra.spool.lookup import find_in_spool
from appliance.infra.spool.poison import PoisonFile
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange


async def _kept(folder: Path, count: int) -> None:
    async with Spool(folder, SpoolConfig(segment_bytes=4096)) as spool:
        for number in range(count):
            assert spool.keep(exchange(number, correlation_id="thread"))


async def test_a_trace_id_finds_one_and_a_correlation_id_all_oldest_first(tmp_path: Path) -> None:
    await _kept(tmp_path, 12)
    one = find_in_spool(tmp_path, exchange(7).trace_id, 20)
    assert [e.answer for e in one.exchanges] == ["answer 7"]
    thread = find_in_spool(tmp_path, "thread", 20)
    assert [e.answer for e in thread.exchanges] == [f"answer {n}" for n in range(12)]
    assert find_in_spool(tmp_path, "threa", 20).exchanges == []


async def test_beyond_the_limit_only_ids_are_kept(tmp_path: Path) -> None:
    await _kept(tmp_path, 12)
    found = find_in_spool(tmp_path, "thread", 5)
    assert len(found.exchanges) == 5
    assert found.others == {exchange(n).trace_id for n in range(5, 12)}


def test_what_was_set_aside_comes_with_its_reason(tmp_path: Path) -> None:
    poison = PoisonFile(tmp_path, 1_000_000)
    poison.append(b"not json", "no record")
    poison.append(msgspec.json.encode(exchange(1)), "too odd")
    poison.append(msgspec.json.encode(exchange(2)), "other")
    [(found, reason)] = find_in_spool(tmp_path, "c-1", 20).poisoned
    assert (found.trace_id, reason) == (exchange(1).trace_id, "too odd")


def test_a_spool_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    found = find_in_spool(tmp_path / "none", "c-1", 20)
    assert (found.exchanges, found.poisoned, found.others) == ([], [], set())
