"""Gathers all there is of some exchanges, from the spool, PostgreSQL and the streams.  For
`appliance trace`.

An event that moves on while we look is found at least once: the spool is read first, and rows of
what was still on its way are looked for again at the end.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec

from appliance.cli.common import database
from appliance.cli.tracing.gathered import MOST, MOST_IDS, Gathered
from appliance.cli.tracing.plan import BEFORE_S, Enough, Plan, dated_s
from appliance.cli.tracing.runs import find_runs
from appliance.config.schema import Config
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.durables import DURABLES, Durable, of_dagster
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import (
    CONSUMED,
    MEASURES,
    MISSING,
    POISONED,
    POSTGRES,
    SPOOL,
    STREAM,
    UNTOLD,
    Traced,
    TracedEvent,
    expected,
    number,
)
from appliance.infra.nats.reader.lookup import Budget, Lookup, Search, open_lookup
from appliance.infra.nats.reader.range import Stored
from appliance.infra.nats.streams import TELEMETRY
from appliance.infra.postgres.history import History, event_from
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.spool.lookup import Waiting, find_in_spool

_AFTER_S = 30.0  # of a shipper that is not held up
_LONG_S = 600.0  # of an exchange nobody knows the end of


@dataclass(frozen=True, slots=True)
class Found:
    """At most MOST exchanges in the order of the stream; the trace ids of `others` with the same
    id; what could not be looked at, in sentences."""

    exchanges: list[Traced]
    others: list[str]
    unseen: list[str]


async def find(config: Config, spool: Path, identifier: str, dagster: str = "") -> Found:
    """Every exchange whose trace id or correlation id is `identifier`; `dagster` is the base of
    Dagster's web server, "" while there is none."""
    waiting = await asyncio.to_thread(find_in_spool, spool, identifier, MOST)
    async with database(config) as pool:
        return await _Finder(config, pool, identifier, dagster).find(waiting)


class _Finder:
    """Of one command."""

    def __init__(self, config: Config, pool: PostgresPool, identifier: str, dagster: str) -> None:
        self._config = config
        self._pool = pool
        self._history = History(pool)
        self._dagster = dagster
        self._identifier = identifier
        self._began_s = dated_s(identifier)
        self._found = Gathered(identifier)
        self._unseen: list[str] = []
        self._floors: dict[str, int] | None = None  # None: nobody could say
        self._rows = False  # PostgreSQL was asked, to the end

    async def find(self, waiting: Waiting) -> Found:
        rows = await self._rows_of_id()
        try:
            async with open_lookup(self._config.nats) as lookup:
                self._floors = await lookup.ack_floors()
                await self._pipeline(lookup, rows=rows)
                self._spooled(waiting)
                await self._telemetry(lookup)
        except PartUnavailable as exc:
            self._unseen.append(str(exc))
        self._spooled(waiting)
        forgotten = await self._rows_again() if rows else set()
        exchanges = [self._settled(traced, forgotten) for traced in self._found.exchanges()]
        if self._rows and exchanges:
            exchanges = await self._with_runs(exchanges)
        return Found(sorted(exchanges, key=_order), self._found.others, self._unseen)

    async def _rows_of_id(self) -> bool:
        """False when PostgreSQL could not be asked."""
        try:
            ids = await self._history.trace_ids(self._identifier, MOST_IDS)
            self._found.count(ids[MOST:])
            for event in await self._history.events(ids[:MOST]):
                self._found.add(event)
            self._rows = True
        except PartUnavailable as exc:
            self._unseen.append(str(exc))
            return False
        return True

    async def _rows_again(self) -> set[str]:
        """Trace ids of those that somebody asked to forget."""
        moving = [t for t in self._found.exchanges() if set(t.places) != {POSTGRES}]
        forgotten = set()
        try:
            for event in await self._history.events([t.trace_id for t in moving]):
                self._found.add(event)
            for traced in moving:
                ids = (traced.trace_id, traced.correlation_id, traced.conversation_id)
                if await self._history.forgotten(ids):
                    forgotten.add(traced.trace_id)
        except PartUnavailable as exc:
            self._rows = False
            self._unseen.append(str(exc))
        return forgotten

    async def _pipeline(self, lookup: Lookup, *, rows: bool) -> None:
        """`rows`: what is acked is in a row, if it is anywhere."""
        budget = Budget(messages=500_000, seconds=15.0)
        floors = self._floors or {}
        plan = Plan(self._identifier, self._found, floors, rows=rows)
        for search, enough in plan.searches():
            await self._search(lookup, search, budget, enough)
            if budget.messages <= 0 or budget.seconds <= 0:
                self._unseen.append(
                    "NATS: the stream is long and was not looked through to its end"
                )
                return

    async def _telemetry(self, lookup: Lookup) -> None:
        """Measures are shown where they are found quickly; they are no part of what is kept."""
        budget = Budget(messages=50_000, seconds=3.0)
        for traced in self._found.exchanges():
            if budget.seconds <= 0 or traced.rates or set(traced.places) <= {SPOOL, POISONED}:
                continue
            ended = _unix_s(traced.occurred_at) + _duration_s(traced)
            await self._measures(lookup, traced.trace_id, ended, ended + _AFTER_S, budget)
        if not self._found.trace_ids and self._began_s is not None:
            until = self._began_s + _LONG_S
            await self._measures(lookup, self._identifier, self._began_s, until, budget)

    async def _measures(
        self, lookup: Lookup, trace_id: str, since: float, until: float, budget: Budget
    ) -> None:
        search = Search(
            stream=TELEMETRY,
            since=max(0.0, since - BEFORE_S),
            until=until,
            trace_ids=frozenset((trace_id,)),
        )

        def enough() -> bool:
            there = trace_id in self._found.trace_ids
            nodes = self._found.exchange(trace_id).nodes if there else []
            return bool(nodes) and self._found.has(trace_id, expected(trace_id, nodes))

        await self._search(lookup, search, budget, enough)

    async def _search(self, lookup: Lookup, search: Search, budget: Budget, enough: Enough) -> None:
        async with aclosing(lookup.search(search, budget)) as found:
            async for stored in found:
                await self._stored(lookup, search.stream, stored)
                if enough():
                    return

    async def _stored(self, lookup: Lookup, stream: str, stored: Stored) -> None:
        """Take a message in when it is of one of these exchanges."""
        place = STREAM if stored.subject in DURABLES else MEASURES
        event = _event(stored.data, stored, place, stream)
        if event is None or not self._found.concerns(event):
            return
        body = await lookup.body_of(stored.data) if self._found.takes(event.trace_id) else None
        if body is not None and body.size_bytes is not None:
            whole = _event(body.data, stored, place, stream) or event
            event = replace(whole, size_bytes=body.size_bytes, reason=body.withheld)
        self._found.add(event)

    def _spooled(self, waiting: Waiting) -> None:
        for exchange in waiting.exchanges:
            for event in _events(exchange, SPOOL):
                self._found.add(event)
        for exchange, reason in waiting.poisoned:
            for event in _events(exchange, POISONED):
                self._found.add(replace(event, reason=reason))
        self._found.count(sorted(waiting.others))

    async def _with_runs(self, exchanges: Sequence[Traced]) -> list[Traced]:
        ids = [traced.trace_id for traced in exchanges]
        try:
            found = await find_runs(self._pool, self._config, ids, self._dagster)
        except PartUnavailable as exc:
            self._unseen.append(str(exc))
            return list(exchanges)
        self._unseen += found.unseen
        return [replace(each, runs=found.of.get(each.trace_id, ())) for each in exchanges]

    def _settled(self, traced: Traced, forgotten: set[str]) -> Traced:
        """With the consumer of each event, and what it made of it."""
        gone = "forgotten on request" if traced.trace_id in forgotten else ""
        events = tuple(self._consumed(event, gone) for event in traced.events)
        return replace(traced, events=events)

    def _consumed(self, event: TracedEvent, forgotten: str) -> TracedEvent:
        durable = DURABLES.get(event.subject)
        if durable is None:
            return event
        event = replace(event, consumer=durable.name)
        if event.sequence is not None and self._floors is not None:
            driver, floor = _further(durable, self._floors)
            event = replace(event, consumer=driver, acked=event.sequence <= floor)
        if event.place == STREAM and event.acked:
            event = replace(event, place=CONSUMED if self._rows else UNTOLD)
        if event.place in (CONSUMED, MISSING):
            event = replace(event, reason=event.reason or forgotten)
        return event


def _further(durable: Durable, floors: Mapping[str, int]) -> tuple[str, int]:
    """Who has come further with a subject, the consumer or Dagster, and how far: either is
    enough."""
    drivers = [durable.name, of_dagster(durable).name]
    there = [name for name in drivers if name in floors] or drivers
    driver = max(there, key=lambda name: floors.get(name, 0))
    return driver, floors.get(driver, 0)


def _event(data: bytes, stored: Stored, place: str, stream: str) -> TracedEvent | None:
    """None when `data` is no event."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("trace_id"), str):
        return None
    return event_from(body, stored.subject, place, stream=stream, sequence=stored.sequence)


def _events(exchange: Exchange, place: str) -> Iterator[TracedEvent]:
    """As they would be published."""
    for event in events_of(exchange):
        body = msgspec.json.decode(msgspec.json.encode(event.body))
        yield event_from(body, event.subject, place)


def _unix_s(occurred_at: str) -> float:
    try:
        return datetime.fromisoformat(occurred_at).timestamp()
    except ValueError:
        return 0.0


def _duration_s(traced: Traced) -> float:
    ends = [(node.began_s or 0.0) + (node.duration_s or 0.0) for node in traced.nodes]
    return max([number(traced.chat.get("duration_s")) or 0.0, *ends])


def _order(traced: Traced) -> tuple[float, str, str]:
    sequence = traced.sequence
    at = float("inf") if sequence is None else float(sequence)
    return at, traced.occurred_at, traced.trace_id
