"""Finds the events of exchanges in a stream, and tells how far their consumers are.  Nothing is
changed and no consumer is made.  For `appliance trace`.

JetStream has no index over ids: a search begins at a time or a sequence and reads on.  It is
bounded in messages and in time, and says when it was cut short.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec
import nats.js.errors
from nats.aio.client import Client

from appliance.config.schema import NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.durables import DURABLES, PIPELINE, of_dagster
from appliance.infra.nats.objects import PayloadGone, Payloads, Reference, is_reference
from appliance.infra.nats.reader.range import Stored, StreamReader, in_words, state_of, visit

API_TIMEOUT_S = 3.0
RESOLVED_BYTES = 8 * 1024 * 1024  # a larger payload is not fetched, its size is told


@dataclass(slots=True)
class Budget:
    """What searches may still cost together."""

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Of `subject`, from `sequence`, or from the Unix time `since` where given, to sequence `last`
    or the time `until`: messages whose event id is of one of `trace_ids`, or in whose data `text`
    is found (the caller looks closer)."""

    stream: str
    subject: str = ">"
    sequence: int = 1
    since: float | None = None
    last: int | None = None
    until: float | None = None
    trace_ids: frozenset[str] = frozenset()
    text: bytes = b""

    def wants(self, stored: Stored) -> bool:
        """Whether it looks like one of those searched for."""
        of_trace = stored.event_id.partition(":")[0] in self.trace_ids
        return of_trace or bool(self.text and self.text in stored.data)


@dataclass(frozen=True, slots=True)
class Body:
    """What a message says, whole.  `size_bytes` is None unless it lies in the object store;
    `withheld` why `data` is only the reference then."""

    data: bytes
    size_bytes: int | None = None
    withheld: str = ""


class _Referring(msgspec.Struct):
    payload_ref: Reference


_referring = msgspec.json.Decoder(_Referring)


@asynccontextmanager
async def open_lookup(config: NatsConfig) -> AsyncIterator["Lookup"]:
    """Raises PartUnavailable(part="nats"), also when the server stops answering inside."""
    try:
        async with visit(config) as client:
            yield Lookup(client)
    except (OSError, TimeoutError) as exc:
        raise PartUnavailable(f"NATS: {in_words(exc)}", part="nats") from exc


class Lookup:
    """Over one connection; one search at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ack_floors(self) -> dict[str, int]:
        """By durable name, of either driver, up to which sequence all of its subject is acked; one
        that is not there is left out."""
        js = self._client.jetstream(timeout=API_TIMEOUT_S)
        floors: dict[str, int] = {}
        if (state := await state_of(self._client, PIPELINE)) is None:
            return floors
        for durable in (each for d in DURABLES.values() for each in (d, of_dagster(d))):
            with suppress(nats.js.errors.NotFoundError):
                info = await js.consumer_info(durable.stream, durable.name)
                floor = info.ack_floor.stream_seq if info.ack_floor is not None else 0
                # A floor only moves with the subject's own messages: without any, it stays behind.
                idle = not info.num_pending and not info.num_ack_pending
                floors[durable.name] = max(floor, state.last_sequence) if idle else floor
        return floors

    async def search(self, search: Search, budget: Budget) -> AsyncGenerator[Stored, None]:
        """What it finds, oldest first, until its end, the stream's or the budget's: that has no
        messages or no seconds left then."""
        if await state_of(self._client, search.stream) is None:
            return
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with (
            StreamReader(self._client, search.stream) as reader,
            aclosing(
                reader.batches(
                    subject=search.subject,
                    sequence=search.sequence,
                    since=search.since,
                    until=search.until,
                )
            ) as batches,
        ):
            async for batch in batches:
                budget.messages -= len(batch.messages)
                budget.seconds -= clock() - begun
                for stored in batch.messages:
                    if search.last is not None and stored.sequence > search.last:
                        return
                    if search.wants(stored):
                        yield stored
                if budget.messages <= 0 or budget.seconds <= 0:
                    return
                begun = clock()

    async def body_of(self, data: bytes) -> Body:
        """Of a payload by reference the payload, unless it is large or gone."""
        if not is_reference(data):
            return Body(data)
        size = _referring.decode(data).payload_ref.size
        if size > RESOLVED_BYTES:
            return Body(data, size, f"its payload of {size} bytes was not fetched")
        try:
            payloads = Payloads(self._client.jetstream(timeout=API_TIMEOUT_S))
            return Body(await payloads.resolve(data), size)
        except PayloadGone as exc:
            return Body(data, size, str(exc))
