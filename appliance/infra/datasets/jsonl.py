"""Pairs as OpenAI takes them for fine-tuning: `{"messages": […]}` a line, the response last, and
`tools` where calls are made and known."""

from pathlib import Path
from typing import IO, Any

import msgspec

from appliance.domain.datasets.pair import Pair
from appliance.infra.datasets.folder import create

_encode = msgspec.json.Encoder().encode


class JsonlFile:
    """A new file, which whoever makes it closes.  Every method raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = create(path)

    def add(self, pair: Pair) -> None:
        """One line."""
        self._file.write(_encode(example(pair)) + b"\n")

    def close(self) -> None:
        """All lines are in the file afterwards."""
        self._file.close()


def example(pair: Pair) -> dict[str, Any]:
    """The object of its line."""
    messages = pair.conversation
    if pair.tools and any("tool_calls" in message for message in messages):
        return {"messages": messages, "tools": pair.tools}
    return {"messages": messages}
