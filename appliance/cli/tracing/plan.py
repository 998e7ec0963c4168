"""Where in PIPELINE events can be that nobody has found yet.  For `appliance trace`: it decides,
`find.py` looks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from appliance.cli.tracing.gathered import Gathered
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, PIPELINE, of_dagster
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.identity import began_s
from appliance.infra.nats.reader.lookup import Search

BEFORE_S = 2.0  # clocks of hosts that agree
_CLOCKS_S = 60.0  # and of those that do not
_NEAR = (1_000, 20_000)  # messages around an event of an exchange that are looked at for others
_NO_TIME_S = 253_402_214_400.0  # the last day that has a date
Enough = Callable[[], bool]


class Plan:
    """Of one command.  `floors` says how far each durable is; `rows`, that what is acked is in a
    row if it is anywhere."""

    def __init__(
        self, identifier: str, found: Gathered, floors: Mapping[str, int], *, rows: bool
    ) -> None:
        self._identifier = identifier
        self._began_s = dated_s(identifier)
        self._found = found
        self._floors = floors
        self._rows = rows

    def searches(self) -> Iterator[tuple[Search, Enough]]:
        """The likeliest first, each until it is enough; made one after the other, so that each
        knows what the one before found."""
        yield from self._beside()
        if self._began_s is not None:
            yield from self._of_trace(self._began_s)
        yield from self._of_correlation()
        yield from self._beside()

    def _of_trace(self, began_s: float) -> Iterator[tuple[Search, Enough]]:
        complete = self._found.complete
        if not self._found.trace_ids:
            begin_s = max(0.0, began_s - BEFORE_S)
            everything = Search(stream=PIPELINE, trace_ids=frozenset((self._identifier,)))
            yield replace(everything, since=begin_s), complete
            if not complete():
                far_s = max(0.0, began_s - _CLOCKS_S)
                yield replace(everything, since=far_s, until=begin_s), complete
        elif not complete():
            begin = min(self._unconsumed(subject) for subject in DURABLES)
            ids = frozenset(self._found.trace_ids)
            yield Search(stream=PIPELINE, sequence=begin, trace_ids=ids), complete

    def _of_correlation(self) -> Iterator[tuple[Search, Enough]]:
        """Every exchange has a lineage, the smallest event there is; of one without it the chat.  A
        trace id is a correlation id, too: its own exchange's and of who sends it back."""
        for subject in (LINEAGE, PERSIST):
            begin = self._unconsumed(subject)
            search = Search(stream=PIPELINE, subject=subject, text=self._identifier.encode())
            yield replace(search, sequence=begin), _never
            if not self._found.trace_ids and begin > 1 and self._began_s is None:
                yield search, _never
            if self._found.trace_ids:
                return

    def _beside(self) -> Iterator[tuple[Search, Enough]]:
        """The events of an exchange are published together: where one is, the others are."""
        for near in _NEAR:
            for trace_id in self._found.trace_ids:
                traced = self._found.exchange(trace_id)
                if traced.complete or traced.sequence is None:
                    continue
                yield (
                    Search(
                        stream=PIPELINE,
                        sequence=max(1, traced.sequence - near),
                        last=traced.sequence + near,
                        trace_ids=frozenset((trace_id,)),
                    ),
                    partial(self._found.is_complete, trace_id),
                )

    def _unconsumed(self, subject: str) -> int:
        """From which sequence on its events may be without a row for no other reason than time."""
        durable = DURABLES[subject]
        either = (self._floors.get(each.name, 0) for each in (durable, of_dagster(durable)))
        return 1 + max(either) if self._rows else 1


def dated_s(identifier: str) -> float | None:
    """When the exchange of a trace id began; None for another id, and for a time without a date."""
    began = began_s(identifier)
    return None if began is None or began >= _NO_TIME_S else began


def _never() -> bool:
    return False
