"""What `appliance trace` has found so far: events by exchange, each once.  Pure."""

from collections.abc import Iterable

from appliance.domain.events.trace import Traced, TracedEvent, exchange_of, merged

MOST = 20
MOST_IDS = 10_000


class Gathered:
    """Of what has the id `identifier`: at most MOST exchanges whole, the first that come; of the
    next MOST_IDS their trace ids."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._events: dict[str, dict[str, TracedEvent]] = {}  # by trace id, by event id
        self._others: dict[str, None] = {}

    @property
    def trace_ids(self) -> list[str]:
        """Of the exchanges that are kept whole."""
        return list(self._events)

    @property
    def others(self) -> list[str]:
        """Trace ids of those beyond MOST."""
        return list(self._others)

    def concerns(self, event: TracedEvent) -> bool:
        """Whether `event` is of an exchange of this id."""
        ids = (event.trace_id, event.correlation_id)
        return self._identifier in ids or event.trace_id in self._events

    def takes(self, trace_id: str) -> bool:
        """Whether events of this exchange are kept, or it is only counted."""
        return trace_id in self._events or len(self._events) < MOST

    def add(self, event: TracedEvent) -> None:
        """Take `event` in; the same again tells where it has come furthest."""
        if not self.takes(event.trace_id):
            self.count((event.trace_id,))
            return
        known = self._events.setdefault(event.trace_id, {})
        there = known.get(event.event_id)
        known[event.event_id] = event if there is None else merged(there, event)

    def count(self, trace_ids: Iterable[str]) -> None:
        """There are these, too."""
        for trace_id in trace_ids:
            if trace_id not in self._events and len(self._others) < MOST_IDS:
                self._others[trace_id] = None

    def has(self, trace_id: str, event_ids: Iterable[str]) -> bool:
        """All of these events of an exchange."""
        return self._events.get(trace_id, {}).keys() >= set(event_ids)

    def exchanges(self) -> list[Traced]:
        """In no order."""
        return [self.exchange(trace_id) for trace_id in self._events]

    def exchange(self, trace_id: str) -> Traced:
        """One of `trace_ids`."""
        return exchange_of(list(self._events[trace_id].values()))

    def is_complete(self, trace_id: str) -> bool:
        """Every event of it is known."""
        return trace_id in self._events and self.exchange(trace_id).complete

    def complete(self) -> bool:
        """Every event of every exchange is known, and there is one."""
        return bool(self._events) and all(map(self.is_complete, self._events))
