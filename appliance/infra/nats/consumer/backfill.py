"""A time range of a subject through its writer again, for a backfill of Dagster's.

Reads the stream as `appliance replay` does, by direct gets: no durable is made, moved or acked.
What is a row already stays as it is.  Buries nothing: what is rejected is in the stream still, and
the durables have their own say about it.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from appliance.config.schema import NatsConfig
from appliance.domain.events.delivery import BatchWriter, Delivery, Rejected, Written
from appliance.domain.events.durables import Durable
from appliance.infra.nats.consumer.deadline import PATIENCE_S, Deadline
from appliance.infra.nats.consumer.drained import Drained, Handled, OnSettled, Sum
from appliance.infra.nats.consumer.patient import PatientWriter
from appliance.infra.nats.objects import PayloadGone, Payloads, is_reference
from appliance.infra.nats.reader.range import Stored, StreamReader, state_of, visit

API_TIMEOUT_S = 15.0
BATCH_MESSAGES = 500
BATCH_BYTES = 16 * 1024 * 1024  # of events in memory, payloads by reference included


@dataclass(frozen=True, slots=True)
class _Read:
    """`delivery` with its whole body, and what it was in the stream; `place` counts the events
    read.  `gone`: why there is no body."""

    delivery: Delivery
    stored: bytes
    place: int
    gone: str = ""


async def backfill(
    nats: NatsConfig,
    durable: Durable,
    writer: BatchWriter,
    *,
    since: float,
    until: float,
    most_events: int | None = None,
    settled: OnSettled | None = None,
    patience_s: float = PATIENCE_S,
) -> Drained:
    """Events of the subject of `durable` that the stream took from `since` until before `until`
    (Unix seconds), oldest first; at most `most_events`.

    `Drained.retried` counts those that could not be written.  `settled` is awaited after each
    commit with what that batch was.  Without a stream there is nothing.  Raises PartUnavailable
    when NATS is away, or PostgreSQL for `patience_s`; what was written until then stays.
    """
    total = Sum()
    patient = PatientWriter(durable.name, writer, Deadline(patience_s))
    async with visit(nats) as client:
        if await state_of(client, durable.stream) is None:
            return total.drained()
        payloads = Payloads(client.jetstream(timeout=API_TIMEOUT_S))
        async with StreamReader(client, durable.stream) as reader:
            reading = _Reading(reader, payloads, durable, since, until, most_events)
            async with aclosing(reading.batches()) as batches:
                async for batch in batches:
                    part = Sum()
                    rejected, written = await _write(patient, batch)
                    for each in (total, part):
                        each.retried += len(rejected)
                        each.add(written, _handled(batch, rejected))
                    if settled is not None and len(rejected) < len(batch):
                        await settled(part.drained())
    total.more = reading.more
    return total.drained()


class _Reading:
    """The events of a range in batches of BATCH_MESSAGES and BATCH_BYTES; `more` once it stopped
    at `most` with another before it."""

    def __init__(
        self,
        reader: StreamReader,
        payloads: Payloads,
        durable: Durable,
        since: float,
        until: float,
        most: int | None,
    ) -> None:
        self.more = False
        self._reader = reader
        self._payloads = payloads
        self._durable = durable
        self._since = since
        self._until = until
        self._most = most

    async def batches(self) -> AsyncGenerator[list[_Read], None]:
        """Oldest first.  Raises PartUnavailable and nats errors."""
        batch: list[_Read] = []
        size = place = 0
        read = self._reader.batches(
            subject=self._durable.subject, since=self._since, until=self._until
        )
        async with aclosing(read):
            async for some in read:
                for stored in some.messages:
                    if place == self._most:
                        self.more = True
                        break
                    place += 1
                    batch.append(one := await self._whole(stored, place))
                    size += len(one.delivery.data)
                    if size >= BATCH_BYTES or len(batch) >= BATCH_MESSAGES:
                        yield batch
                        batch, size = [], 0
                if self.more:
                    break
        if batch:
            yield batch

    async def _whole(self, stored: Stored, place: int) -> _Read:
        stream, data = self._durable.stream, stored.data
        delivery = Delivery(stream, stored.subject, stored.sequence, 1, stored.event_id, data)
        if not is_reference(data):
            return _Read(delivery, data, place)
        try:
            body = await self._payloads.resolve(data)
        except PayloadGone as exc:
            return _Read(delivery, data, place, gone=f"its payload is gone: {exc}")
        return _Read(replace(delivery, data=body), data, place)


async def _write(patient: PatientWriter, batch: Sequence[_Read]) -> tuple[set[int], Written]:
    """Sequences of what was rejected, and what became of the rest."""
    written = await patient.write([read.delivery for read in batch if not read.gone])
    assert written is not None  # a deadline raises, it does not give up
    written.rejected += [Rejected(read.delivery, read.gone, True) for read in batch if read.gone]
    return {rejected.delivery.sequence for rejected in written.rejected}, written


def _handled(batch: Sequence[_Read], rejected: set[int]) -> list[Handled]:
    return [
        Handled(read.delivery.sequence, 1, read.place, read.stored)
        for read in batch
        if read.delivery.sequence not in rejected
    ]
