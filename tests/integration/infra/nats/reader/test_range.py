"""A stretch of a stream, read beside its consumers."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from appliance.config.schema import NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.infra.nats.reader import range as reading
from appliance.infra.nats.reader.range import Batch, StreamReader, state_of, visit
from appliance.infra.nats.streams import ensure_streams
from tests.fixtures_nats import NatsServer

ONE, OTHER = "pipeline.one", "pipeline.other"


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    async with visit(nats_server.config) as client:
        await ensure_streams(client.jetstream(timeout=5), 1)
        yield client


async def _publish(client: Client, count: int, *, size: int = 10, subject: str = ONE) -> list[int]:
    """Their sequences."""
    js = client.jetstream(timeout=5)
    acks = []
    for start in range(0, count, 100):
        some = range(start, min(start + 100, count))
        made = (js.publish(subject, b"%d" % n + b" " * size) for n in some)
        acks += await asyncio.gather(*made)
    return sorted(ack.seq for ack in acks)


async def _all(client: Client, **where: object) -> list[Batch]:
    async with StreamReader(client, "PIPELINE") as reader:
        return [batch async for batch in reader.batches(**where)]  # type: ignore[arg-type]


def _sequences(batches: list[Batch]) -> list[int]:
    return [message.sequence for batch in batches for message in batch.messages]


async def test_a_visit_that_is_refused_leaves_no_connection_open() -> None:
    left = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"one","version":"2.12.0","max_payload":1048576}\r\n')
        await reader.readline()
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        await reader.read()  # until the other side has closed it
        left.set()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(PartUnavailable, match="Authorization"):
            async with visit(NatsConfig(url=f"nats://127.0.0.1:{port}")):
                pass
        async with asyncio.timeout(60):
            await left.wait()


async def test_every_message_comes_once_in_order_and_it_says_how_many_follow(
    client: Client,
) -> None:
    published = await _publish(client, 1203)
    batches = await _all(client)
    assert _sequences(batches) == published
    assert [(len(b.messages), b.left) for b in batches] == [(500, 703), (500, 203), (203, 0)]


async def test_a_batch_is_bounded_in_bytes(client: Client) -> None:
    size = 900_000
    published = await _publish(client, 30, size=size)
    batches = await _all(client)
    assert _sequences(batches) == published
    sizes = [sum(len(m.data) for m in batch.messages) for batch in batches]
    assert max(sizes) <= reading.BATCH_BYTES + 2 * size


async def test_it_ends_where_it_is_told_and_begins_there(client: Client) -> None:
    first = await _publish(client, 3)
    await asyncio.sleep(0.01)  # so that the server's clock moves on between the two
    middle = time.time()
    second = await _publish(client, 3)
    assert _sequences(await _all(client, until=middle)) == first
    assert _sequences(await _all(client, since=middle)) == second
    assert _sequences(await _all(client, sequence=first[2])) == [first[2], *second]
    assert _sequences(await _all(client, since=-1e12)) == first + second
    assert await _all(client, since=time.time() + 60) == []


async def test_a_subject_is_read_alone_and_deleted_ones_are_passed_by(client: Client) -> None:
    one = await _publish(client, 3)
    await _publish(client, 3, subject=OTHER)
    await client.jetstream().delete_msg("PIPELINE", one[1])
    assert _sequences(await _all(client, subject=ONE)) == [one[0], one[2]]


async def test_no_consumer_is_made_and_none_loses_its_place(client: Client) -> None:
    js = client.jetstream(timeout=5)
    await js.add_consumer("PIPELINE", ConsumerConfig(durable_name="other"))
    await _publish(client, 20)
    await _all(client)
    assert [info.name for info in await js.consumers_info("PIPELINE")] == ["other"]
    assert (await js.consumer_info("PIPELINE", "other")).num_pending == 20


async def test_the_state_of_a_stream(client: Client) -> None:
    assert await state_of(client, "NOBODY") is None
    empty = await state_of(client, "PIPELINE")
    assert empty is not None
    assert empty.first_at is None
    published = await _publish(client, 2)
    state = await state_of(client, "PIPELINE")
    assert state is not None
    assert (state.first_sequence, state.last_sequence) == (published[0], published[1])
    assert state.first_at is not None
    assert abs(state.first_at - time.time()) < 60


async def test_without_a_stream_or_a_server_it_says_so(nats_server: NatsServer) -> None:
    async with visit(nats_server.config) as client:
        with pytest.raises(PartUnavailable, match="nobody serves the stream PIPELINE"):
            await _all(client)
    nats_server.kill()
    with pytest.raises(PartUnavailable, match="NATS: "):
        async with visit(nats_server.config):
            pass
    with pytest.raises(PartUnavailable, match=r"is not configured \(\[nats\] url\)"):
        async with visit(_without_url(nats_server)):
            pass


def _without_url(server: NatsServer) -> NatsConfig:
    """Its configuration without an address."""
    return NatsConfig(url="", token=server.config.token)


async def test_a_server_that_freezes_in_the_middle_is_not_waited_for_long(
    nats_server: NatsServer,
) -> None:
    async def read() -> None:
        async with visit(nats_server.config) as client:
            await ensure_streams(client.jetstream(timeout=5), 1)
            await _publish(client, 600)
            async with StreamReader(client, "PIPELINE") as reader:
                async for _ in reader.batches():
                    nats_server.signal(signal.SIGSTOP)

    with pytest.raises(PartUnavailable, match="did not answer within"):
        await read()
