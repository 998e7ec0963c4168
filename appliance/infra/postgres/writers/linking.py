"""Which result belongs to which call of a tool.  Pure; called by `tool_call.py` with the rows it
read, in a transaction no other consumer links in.

The answer is a function of what is there, not of the order it came in: two consumers, a replay and
a late gateway all end at the same links.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

_canonical = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Call:
    """A row of tool_calls.  `at` is Unix seconds; `taken`: a result has been put to it."""

    event_id: str
    trace_id: str
    id_key: bytes
    call_key: bytes
    name: str
    index: int
    sequence: int
    at: float
    taken: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A row of tool_results.  `vague`: its request told no arguments, perhaps no name of the call;
    `call_event_id` is the one it has been put to."""

    event_id: str
    trace_id: str
    id_key: bytes
    call_key: bytes
    name: str
    vague: bool
    sequence: int
    at: float
    call_event_id: str | None


def id_key(key_name: str, call_id: str) -> bytes:
    """What calls and results with the same id have in common.  A digest: ids come from backends, in
    any length, and an index takes 2704 bytes."""
    return hashlib.sha256(_canonical((key_name, call_id))).digest()


def call_key(key_name: str, call_id: str, name: str, arguments: str) -> bytes:
    """What a call and its result have in common, however the client wrote the arguments."""
    return hashlib.sha256(_canonical((key_name, call_id, name, _meant(arguments)))).digest()


def links(calls: Sequence[Call], results: Sequence[Result]) -> dict[str, str | None]:
    """By event id of a result that of its call, None for one that waits for it still.

    Results in the order of the stream, first by all they know, then the vague ones by id and name;
    each takes the newest call that is still open, was there before it, and is of another exchange.
    What is linked to a row that is not among these stays as it is, and out of the answer.
    """
    known = {call.event_id for call in calls}
    linked = {result.call_event_id for result in results}
    free = _Calls(call for call in calls if not call.taken or call.event_id in linked)
    waiting = [r for r in results if r.call_event_id is None or r.call_event_id in known]
    waiting.sort(key=_place)
    found: dict[str, str | None] = {r.event_id: free.take(r, r.call_key) for r in waiting}
    for result in waiting:
        if result.vague and found[result.event_id] is None:
            found[result.event_id] = free.take(result, (result.id_key, result.name))
    return found


class _Calls:
    """Open calls, the newest last, by what a result knows of its call."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._taken: set[str] = set()
        self._by_key: dict[object, list[Call]] = {}
        for call in sorted(calls, key=_place):
            for key in {call.call_key, (call.id_key, call.name), (call.id_key, "")}:
                self._by_key.setdefault(key, []).append(call)

    def take(self, result: Result, key: object) -> str | None:
        """The one for `result`, which nobody gets again."""
        open_calls = (c for c in reversed(self._by_key.get(key, ())) if self._fits(c, result))
        newest = next(open_calls, None)
        if newest is None:
            return None
        # Equal calls of one answer get their results in their order.
        equal = [newest, *(call for call in open_calls if call.trace_id == newest.trace_id)]
        taken = min(equal, key=_index).event_id
        self._taken.add(taken)
        return taken

    def _fits(self, call: Call, result: Result) -> bool:
        """The stream tells which came first when one gateway sent both, the clock when it was two
        and one was late; a clock may go backwards, so that either will do."""
        before = call.sequence < result.sequence or call.at < result.at
        return before and call.trace_id != result.trace_id and call.event_id not in self._taken


def _place(row: Call | Result) -> tuple[int, str]:
    return row.sequence, row.event_id


def _index(call: Call) -> int:
    return call.index


def _meant(arguments: str) -> Any:
    """The value of JSON arguments, so that whitespace, escapes, the order of keys and the spelling
    of numbers do not count; other text as it is.  None at all are an empty object."""
    try:
        return {"json": _floats(msgspec.json.decode(arguments or "{}"))}
    except (msgspec.DecodeError, OverflowError, RecursionError):
        return {"text": arguments}


def _floats(value: Any) -> Any:
    """Numbers as a client in JavaScript reads and writes them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    return value
