"""Points in time as a person writes them: RFC 3339, or an age.  For commands and pipelines."""

import re
from collections.abc import Mapping
from datetime import datetime

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS: Mapping[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def instant(text: str, now: float) -> float:
    """Unix seconds of `2026-11-21T14:00:00Z` or of `90m`, `2h`, `3d` before `now`.

    Raises ValueError with what to write instead.
    """
    if age := _AGE.fullmatch(text):
        return now - float(age[1]) * _UNITS[age[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ValueError(
            f"{text!r} is neither a time with its zone (2026-11-21T14:00:00Z) nor an age "
            "(90m, 2h, 3d)"
        )
    return when.timestamp()


def told(unix_s: float) -> str:
    """In the time of this place."""
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
