"""Deltas that wait for a decision on their text.  Used by the parser stages.

What turns out to be nothing special leaves as the very object that came; what is cut or reworded
leaves as a new step that keeps the `source`, usage and model of its delta, once.
"""

from collections import deque
from typing import Literal

from appliance.domain.conversation.logprobs import within
from appliance.domain.conversation.stream import Delta

As = Literal["text", "reasoning", "nothing"]


class Held:
    """The deltas of one choice in order.  One without text waits for the text before it."""

    __slots__ = ("_at", "_deltas", "_kept", "_told")

    def __init__(self) -> None:
        self._deltas: deque[Delta] = deque()
        self._at = 0  # characters of the first delta already taken
        self._told = False  # its source, usage and model have gone out
        self._kept = 0  # characters that are text and have not gone out

    def __bool__(self) -> bool:
        return bool(self._deltas)

    def push(self, delta: Delta) -> None:
        """One more delta."""
        self._deltas.append(delta)

    def keep(self, count: int) -> None:
        """The next `count` characters are text; they leave with the next `flush`, `reword` or
        `drop`, so that a delta is not cut where nothing else is."""
        self._kept += count

    def flush(self, out: list[Delta]) -> None:
        """Hand out what was kept, and deltas without text behind it."""
        kept, self._kept = self._kept, 0
        self._take(kept, "text", out)

    def reword(self, count: int, out: list[Delta]) -> None:
        """The next `count` characters are reasoning."""
        self.flush(out)
        self._take(count, "reasoning", out)

    def drop(self, count: int, out: list[Delta]) -> None:
        """The next `count` characters are not for the client; what else their deltas say is."""
        self.flush(out)
        self._take(count, "nothing", out)

    def _take(self, count: int, kind: As, out: list[Delta]) -> None:
        deltas = self._deltas
        while deltas:
            delta = deltas[0]
            left = len(delta.text) - self._at
            if left > count:
                if count:
                    self._say(delta, delta.text[self._at : self._at + count], kind, out)
                    self._at += count
                return
            deltas.popleft()
            if self._at == 0 and not self._told and (kind == "text" or not delta.text):
                out.append(delta)
            else:
                self._say(delta, delta.text[self._at :], kind, out, last=True)
            self._at, self._told = 0, False
            count -= left

    def _say(
        self, delta: Delta, text: str, kind: As, out: list[Delta], *, last: bool = False
    ) -> None:
        finish = delta.finish_reason if last else None
        owed = last and not self._told and delta.usage is not None
        if kind == "nothing":
            if not (finish or owed):
                return
            text = ""
        step = Delta(delta.index, altered=True, finish_reason=finish)
        if kind == "reasoning":
            step.reasoning = text
        else:
            step.text = text
            if delta.logprobs and text:
                step.logprobs = within(delta.logprobs, self._at, len(text))
        if last:
            step.stop_sequence = delta.stop_sequence
        if not self._told:
            step.source, step.usage, step.model = delta.source, delta.usage, delta.model
            self._told = True
        out.append(step)


def tail_length(text: str, prefixes: frozenset[str], longest: int) -> int:
    """How many characters at the end of `text` may be the beginning of something longer: the
    longest suffix that is one of `prefixes`, none of which has more than `longest` characters."""
    for count in range(min(longest, len(text)), 0, -1):
        if text[-count:] in prefixes:
            return count
    return 0


def prefixes_of(literals: tuple[str, ...]) -> frozenset[str]:
    """All proper beginnings of the literals."""
    return frozenset(literal[:n] for literal in literals for n in range(1, len(literal)))
