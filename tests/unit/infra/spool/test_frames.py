from pathlib import Path

import pytest

from appliance.infra.spool.frames import HEADER, count_frames, frame, read_frames

RECORDS = [b"one", b"two" * 1000, b"three"]


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "00000001.seg"
    path.write_bytes(b"".join(map(frame, RECORDS)))
    return path


def _payloads(path: Path, budget: int = 1 << 20) -> tuple[list[bytes], int]:
    """Everything that can be read, in as many chunks as it takes, and the pieces that cannot."""
    size, offset, found, bad = path.stat().st_size, 0, [], 0
    while offset < size:
        frames = read_frames(path, offset, size, budget)
        found += [payload for payload, _ in frames.records]
        bad += frames.damaged + frames.torn
        offset = size if frames.torn else frames.after
    return found, bad


@pytest.mark.parametrize("budget", [1, 9, 11, 100, 1 << 20])
def test_frames_are_read_whole_whatever_the_chunk(segment: Path, budget: int) -> None:
    assert _payloads(segment, budget) == (RECORDS, 0)


def test_every_way_to_cut_the_last_frame_short_is_seen(segment: Path) -> None:
    whole = segment.read_bytes()
    keep = len(whole) - HEADER.size - len(RECORDS[-1])
    for size in range(keep + 1, len(whole)):
        segment.write_bytes(whole[:size])
        assert _payloads(segment) == (RECORDS[:2], 1), size


def test_zeros_after_a_power_loss_are_no_records(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes() + bytes(4096))
    assert _payloads(segment) == (RECORDS, 1)


def test_a_damaged_record_does_not_take_its_neighbours_along(segment: Path) -> None:
    data = bytearray(segment.read_bytes())
    data[HEADER.size + 3 + HEADER.size + 100] ^= 0xFF
    segment.write_bytes(data)
    assert _payloads(segment) == ([RECORDS[0], RECORDS[2]], 1)
    assert _payloads(segment, budget=1) == ([RECORDS[0], RECORDS[2]], 1)


def test_counting_hops_over_the_lengths(segment: Path) -> None:
    size = segment.stat().st_size
    assert count_frames(segment, 0, size) == 3
    assert count_frames(segment, HEADER.size + 3, size) == 2
    segment.write_bytes(segment.read_bytes()[:-1])
    assert count_frames(segment, 0, size - 1) == 2
