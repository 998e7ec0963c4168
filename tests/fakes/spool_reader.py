"""Read the exchanges a gateway handed over, straight from its spool folder."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.infra.spool.frames import read_frames


def spooled(folder: Path) -> list[dict[str, Any]]:
    """Every record in every segment below `folder`, oldest first in each."""
    records = []
    for segment in sorted(folder.glob("*/*.seg")):
        size = segment.stat().st_size
        for payload, _ in read_frames(segment, 0, size, size).records if size else ():
            records.append(json.loads(payload))
    return records


def wait_spooled(
    folder: Path, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 5.0
) -> dict[str, Any]:
    """The first record that is `wanted`; AssertionError when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for record in spooled(folder):
            if wanted(record):
                return record
        time.sleep(0.02)
    raise AssertionError(f"no such record; there are: {spooled(folder)}")
