"""Read the exchanges a gateway handed over, straight from its spool folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.infra.spool.frames import read_frames
from tests.fakes.until import WAIT_S, until


def spooled(folder: Path) -> list[dict[str, Any]]:
    """Every record in every segment below `folder`, oldest first in each."""
    records = []
    for segment in sorted(folder.glob("*/*.seg")):
        size = segment.stat().st_size
        for payload, _ in read_frames(segment, 0, size, size).records if size else ():
            records.append(json.loads(payload))
    return records


def wait_spooled(
    folder: Path, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = WAIT_S
) -> dict[str, Any]:
    """The first record that is `wanted`; AssertionError when none comes in time."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = filter(wanted, spooled(folder))
        return bool(found)

    until(there, lambda: f"no such record; there are: {spooled(folder)}", timeout_s)
    return found[0]
