"""JetStream by hand: what somebody with the `nats` command may do to the streams."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, DiscardPolicy, RawStreamMsg, StorageType
from nats.js.errors import NotFoundError

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, PIPELINE
from tests.fakes.until import WAIT_S

# What a frozen gateway has sent may lie in the server's socket, on a busy machine for a while.
SETTLED_S = 0.5
Lost = dict[str, set[str]]  # by table: trace ids


def delete_stream(url: str) -> None:
    """Delete PIPELINE with everything in it."""

    async def act() -> None:
        async with _jetstream(url) as js:
            await js.delete_stream(PIPELINE)

    asyncio.run(act())


async def persisted(url: str) -> dict[str, bytes]:
    """The messages of chat exchanges in PIPELINE, by trace id."""

    async with _jetstream(url) as js:
        state = (await js.stream_info(PIPELINE)).state
        sequences = range(state.first_seq, state.last_seq + 1)
        messages = [await js.get_msg(PIPELINE, sequence) for sequence in sequences]
    return {_trace_id(m): m.data or b"" for m in messages if m.subject == PERSIST}


def create_small(url: str, name: str, subjects: Sequence[str], max_bytes: int) -> None:
    """A stream that drops its oldest messages, as an operator with little room makes it."""

    async def act() -> None:
        async with _jetstream(url) as js:
            await js.add_stream(
                name=name,
                subjects=list(subjects),
                max_bytes=max_bytes,
                discard=DiscardPolicy.OLD,
                storage=StorageType.FILE,
            )

    asyncio.run(act())


def purge_consumed(url: str) -> None:
    """Make room in PIPELINE: what every durable has acked goes, what came in meanwhile stays."""

    async def act() -> None:
        async with _jetstream(url) as js, asyncio.timeout(WAIT_S):
            last = await _settled(js)
            await _consumed(js)
            await js.purge_stream(PIPELINE, seq=last + 1)

    asyncio.run(act())


def delete_durable(url: str, name: str) -> None:
    """Delete one consumer, once it is there; its place in the stream is forgotten."""

    async def act() -> None:
        async with _jetstream(url) as js, asyncio.timeout(WAIT_S):
            while True:
                with suppress(NotFoundError):
                    await js.delete_consumer(PIPELINE, name)
                    return
                await asyncio.sleep(0.05)

    asyncio.run(act())


def delete_with_unconsumed(url: str) -> Lost:
    """Delete PIPELINE, while nobody publishes or consumes; the rows that are lost with it at
    most."""

    async def act() -> Lost:
        async with _jetstream(url) as js:
            await _settled(js)
            lost = await _unconsumed(js)
            await js.delete_stream(PIPELINE)
            return lost

    return asyncio.run(act())


def wait_consumed(url: str) -> None:
    """Until every durable has acked everything; nobody publishes meanwhile."""

    async def act() -> None:
        async with _jetstream(url) as js, asyncio.timeout(WAIT_S):
            await _settled(js)
            await _consumed(js)

    asyncio.run(act())


def wait_unconsumed(url: str, table: str, count: int) -> None:
    """Until the rows of `count` exchanges for `table` are in the stream and no consumer's."""

    async def act() -> None:
        async with _jetstream(url) as js, asyncio.timeout(WAIT_S):
            while len((await _unconsumed(js))[table]) < count:
                await asyncio.sleep(0.05)

    asyncio.run(act())


async def _settled(js: JetStreamContext) -> int:
    """Until what was on its way into the stream is in it; the last sequence there."""
    last, since = -1, 0.0
    while True:
        now = (await js.stream_info(PIPELINE)).state.last_seq
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > SETTLED_S:
            return last
        await asyncio.sleep(0.05)


async def _consumed(js: JetStreamContext) -> None:
    while await _waiting(js):
        await asyncio.sleep(0.02)


async def _waiting(js: JetStreamContext) -> int:
    infos = [info async for info in _infos(js)]
    return sum((info.num_pending or 0) + (info.num_ack_pending or 0) for info in infos)


async def _unconsumed(js: JetStreamContext) -> Lost:
    lost: Lost = {table: set() for durable in DURABLES.values() for table in durable.tables}
    state = (await js.stream_info(PIPELINE)).state
    floors = {info.name: info.ack_floor.stream_seq async for info in _infos(js) if info.ack_floor}
    first = min(floors.values(), default=0) + 1
    for sequence in range(max(first, state.first_seq), state.last_seq + 1):
        message = await js.get_msg(PIPELINE, sequence)
        durable = DURABLES[message.subject or ""]
        if sequence > floors.get(durable.name, 0):
            _add(lost, durable.tables, _trace_id(message))
    return lost


def _trace_id(message: RawStreamMsg) -> str:
    event_id: str = (message.headers or {})["Nats-Msg-Id"]
    return event_id.partition(":")[0]


def _add(lost: Lost, tables: Iterable[str], trace_id: str) -> None:
    for table in tables:
        lost[table].add(trace_id)


async def _infos(js: JetStreamContext) -> AsyncIterator[ConsumerInfo]:
    for info in await js.consumers_info(PIPELINE):
        yield info


@asynccontextmanager
async def _jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(url)
    try:
        yield client.jetstream(timeout=10)
    finally:
        await client.close()
