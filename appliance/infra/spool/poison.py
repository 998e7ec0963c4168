"""`poison.jsonl`: records that can never be shipped, one JSON object a line, with the reason."""

import base64
import os
import time
from pathlib import Path
from typing import Any

import msgspec

NAME = "poison.jsonl"


class PoisonFile:
    """In `directory`, at most `max_bytes` long."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.path = directory / NAME
        self._max_bytes = max_bytes

    def append(self, payload: bytes, reason: str) -> Path | None:
        """Set `payload` aside; None when there is no room for it.  Blocks on the disk."""
        line = (
            msgspec.json.encode({"at": time.time(), "reason": reason, **_content(payload)}) + b"\n"
        )
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            if size + len(line) > self._max_bytes:
                return None
            handle = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(handle, "wb") as out:
                out.write(line)
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            return None
        return self.path


def _content(payload: bytes) -> dict[str, Any]:
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return {"payload_base64": base64.b64encode(payload).decode("ascii")}
    return {"exchange": msgspec.Raw(payload)}
