import threading
from pathlib import Path

import msgspec

from appliance.infra.mentions import Mentions
from appliance.infra.spool.poison import PoisonFile

_ALICE = Mentions("alice")


def _record(correlation_id: str, text: str = "") -> bytes:
    return msgspec.json.encode({"correlation_id": correlation_id, "answer": text})


def _lines(file: PoisonFile) -> list[bytes]:
    return file.path.read_bytes().splitlines()


def test_forget_takes_out_records_of_that_id_and_no_other(tmp_path: Path) -> None:
    file = PoisonFile(tmp_path, 10_000)
    mentioned = _record("bob", 'alice says "alice"')
    broken = b'\xff{"correlation_id":"alice"'
    for payload in (_record("alice"), mentioned, broken, _record("bob"), b"\xff broken"):
        assert file.append(payload, "too large") == file.path
    assert file.count(_ALICE) == 2
    assert file.forget(_ALICE) == 2
    assert [msgspec.json.decode(line).get("exchange") for line in _lines(file)] == [
        msgspec.json.decode(mentioned),
        msgspec.json.decode(_record("bob")),
        None,
    ]
    assert file.forget(_ALICE) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["poison.jsonl"]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_without_a_file_there_is_nothing_to_forget_and_none_is_made(tmp_path: Path) -> None:
    file = PoisonFile(tmp_path, 10_000)
    assert (file.count(_ALICE), file.forget(_ALICE)) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_it_does_not_grow_beyond_its_limit(tmp_path: Path) -> None:
    file = PoisonFile(tmp_path, 200)
    assert file.append(_record("bob"), "why") is not None
    before = file.path.read_bytes()
    assert file.append(_record("bob", "x" * 200), "why") is None
    assert file.path.read_bytes() == before


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    file = PoisonFile(tmp_path, 10_000)
    file.path.write_bytes(b'{"at":1,"reason":"cut sh')
    assert file.append(_record("bob"), "why") is not None
    first, second = _lines(file)
    assert first == b'{"at":1,"reason":"cut sh'
    assert msgspec.json.decode(second)["exchange"]["correlation_id"] == "bob"
    assert file.forget(_ALICE) == 0


def test_a_disk_that_refuses_is_no_exception(tmp_path: Path) -> None:
    assert PoisonFile(tmp_path / "none", 10_000).append(_record("bob"), "why") is None


def test_gateways_that_append_meanwhile_lose_nothing(tmp_path: Path) -> None:
    """Each has the file open by itself, as processes do."""
    count, writers = 150, 3

    def append(name: str) -> None:
        file = PoisonFile(tmp_path, 10_000_000)
        for number in range(count):
            assert file.append(_record(name, str(number)), "why") is not None
            assert file.append(_record("alice", str(number)), "why") is not None

    threads = [threading.Thread(target=append, args=(f"g{n}",)) for n in range(writers)]
    for thread in threads:
        thread.start()
    forgetting = PoisonFile(tmp_path, 0)
    removed = 0
    while any(thread.is_alive() for thread in threads):
        removed += forgetting.forget(_ALICE)
    for thread in threads:
        thread.join()
    removed += forgetting.forget(_ALICE)
    kept = [msgspec.json.decode(line)["exchange"] for line in _lines(forgetting)]
    assert removed == count * writers
    for n in range(writers):
        own = [record["answer"] for record in kept if record["correlation_id"] == f"g{n}"]
        assert own == [str(number) for number in range(count)]
    assert len(kept) == count * writers
