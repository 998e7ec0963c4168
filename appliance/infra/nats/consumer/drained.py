"""What a run did with the events of one subject: how many, which, and of when.  Pure.

Of `drain.drain` and `backfill.backfill`, for the metadata and the tags of Dagster's runs, and for
the record of which run handled which event.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import msgspec

from appliance.domain.events.delivery import Written


@dataclass(frozen=True, slots=True)
class Drained:
    """`events` are rows now or forgotten; `retried` were sent back, `buried` became dead letters.

    `written` has the rows by table, without what was rejected.  `sequences` are inclusive ranges of
    stream sequences, in order: every event of the subject within one is among `events`, though
    sequences of other subjects lie there too.  `oldest` and `newest` are `occurred_at` of `events`.
    `exchange` has trace id and correlation id when they all are of one, and none was forgotten.
    `more`: it stopped at its limit while something waited.
    """

    events: int
    retried: int
    buried: int
    written: Written
    sequences: list[tuple[int, int]]
    oldest: str | None
    newest: str | None
    exchange: tuple[str, str] | None
    more: bool


# Told what a batch was, once it is committed.
OnSettled = Callable[[Drained], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handled:
    """An event that is done, and the proof of what lies before it: of two with the same `source`
    whose `place` follow each other, nothing of the subject is between.  `place` 0 proves nothing:
    it is a redelivery."""

    sequence: int
    source: int
    place: int
    data: bytes  # with the envelope: the event, or the reference to it


@dataclass(frozen=True, slots=True)
class _Span:
    """Sequences `first` to `last`, which were in `begin` to `end` of `source`."""

    source: int
    begin: int
    end: int
    first: int
    last: int


class _Envelope(msgspec.Struct):
    trace_id: str
    correlation_id: str
    occurred_at: str


_envelope = msgspec.json.Decoder(_Envelope)


class Sum:
    """Adds up batches; `drained` is what they come to."""

    def __init__(self) -> None:
        self.retried = 0
        self.buried = 0
        self.more = False
        self._events = 0
        self._written = Written()
        self._spans: list[_Span] = []
        self._oldest: str | None = None
        self._newest: str | None = None
        self._exchange: tuple[str, str] | None = None
        self._one = True

    def add(self, written: Written, handled: Sequence[Handled]) -> None:
        """`handled` are done, and `written` is what became of them."""
        rows = Written(written.offered, written.inserted, written.forgotten)
        self._written.add(rows)
        self._events += len(handled)
        if written.forgotten:
            self._one = False  # whose ids these are is not to be told
        for each in handled:
            self._look(each.data)
        spans = [_Span(e.source, e.place, e.place, e.sequence, e.sequence) for e in handled]
        self._spans += _joined(spans)

    def drained(self) -> Drained:
        """What was added until now."""
        whole = Written()
        whole.add(self._written)
        return Drained(
            events=self._events,
            retried=self.retried,
            buried=self.buried,
            written=whole,
            sequences=_ranges(_joined(self._spans)),
            oldest=self._oldest,
            newest=self._newest,
            exchange=self._exchange if self._one else None,
            more=self.more,
        )

    def _look(self, data: bytes) -> None:
        try:
            envelope = _envelope.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # another writer's events may have none
            self._one = False
            return
        at = envelope.occurred_at
        self._oldest = at if self._oldest is None else min(self._oldest, at)
        self._newest = at if self._newest is None else max(self._newest, at)
        exchange = (envelope.trace_id, envelope.correlation_id)
        if self._exchange is None:
            self._exchange = exchange
        elif self._exchange != exchange:
            self._one = False


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """Those between which nothing is became one."""
    joined: list[_Span] = []
    for span in sorted(spans, key=attrgetter("source", "begin", "first")):
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.begin
            and last.source == span.source
            and last.end + 1 == span.begin
        ):
            joined[-1] = _Span(span.source, last.begin, span.end, last.first, span.last)
        else:
            joined.append(span)
    return joined


def _ranges(spans: Iterable[_Span]) -> list[tuple[int, int]]:
    """In order; those that touch or overlap are one, which covers what they cover."""
    ranges: list[tuple[int, int]] = []
    for span in sorted(spans, key=attrgetter("first", "last")):
        if ranges and span.first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], span.last))
        else:
            ranges.append((span.first, span.last))
    return ranges
