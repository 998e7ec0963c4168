"""Pieces and cancels through the real NATS, from one gateway to another."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import nats
import pytest

from appliance.config.schema import NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.responses import MOST_BYTES, NatsResponseEvents
from appliance.infra.nats.streams import ensure_streams
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import NatsServer


def _frame(number: int, size: int = 0) -> bytes:
    return b"event: e%d\ndata: {}%s\n\n" % (number, b"x" * size)


def _piece(first: int, count: int = 1, *, last: bool = False, size: int = 0) -> Piece:
    frames = b"".join(_frame(number, size) for number in range(first, first + count))
    return Piece(first, frames, last=last)


async def _until(claim: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not claim():
            await asyncio.sleep(0.01)


async def _read(events: NatsResponseEvents, trace_id: str) -> list[Piece]:
    """Until its end."""
    async with asyncio.timeout(WAIT_S), aclosing(events.follow(trace_id)) as pieces:
        return [piece async for piece in pieces]


class Follower:
    """Reads in a task; `pieces` is what has arrived."""

    def __init__(self, events: NatsResponseEvents, trace_id: str) -> None:
        self.pieces: list[Piece] = []
        self.task = asyncio.create_task(self._run(events, trace_id))

    async def _run(self, events: NatsResponseEvents, trace_id: str) -> None:
        async with aclosing(events.follow(trace_id)) as pieces:
            async for piece in pieces:
                self.pieces.append(piece)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


class Stream:
    """What an administrator sees of EVT."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server

    async def messages(self) -> int:
        info = await self._ask()
        return info[0]

    async def consumers(self) -> int:
        info = await self._ask()
        return info[1]

    async def _ask(self) -> tuple[int, int]:
        client = await nats.connect(self._server.config.url, token=self._server.config.token)
        try:
            state = (await client.jetstream().stream_info("EVT")).state
            return state.messages, state.consumer_count
        finally:
            await client.close()


@pytest.fixture
async def ensured(nats_server: NatsServer) -> NatsServer:
    """With its streams."""
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    await ensure_streams(client.jetstream(timeout=5), 1)
    await client.close()
    return nats_server


@pytest.fixture
async def gateways(ensured: NatsServer) -> AsyncIterator[list[NatsResponseEvents]]:
    """Two of them, connected."""
    async with AsyncExitStack() as stack:
        made = [NatsResponseEvents(ensured.config, host) for host in ("one", "two")]
        for each in made:
            await stack.enter_async_context(each)
        await _until(lambda: all(each.connected for each in made))
        yield made


async def test_another_gateway_reads_what_was_and_what_comes(
    gateways: list[NatsResponseEvents],
) -> None:
    one, two = gateways
    one.publish("t", _piece(0, 3))
    one.publish("other", _piece(0))
    early = Follower(two, "t")
    await _until(lambda: early.pieces)
    one.publish("t", _piece(3))
    await _until(lambda: len(early.pieces) == 2)
    late = Follower(one, "t")
    await _until(lambda: len(late.pieces) == 2)
    one.publish("t", _piece(4, 2, last=True))
    await asyncio.wait_for(asyncio.gather(early.task, late.task), WAIT_S)
    assert early.pieces == late.pieces
    assert early.pieces == [_piece(0, 3), _piece(3), _piece(4, 2, last=True)]
    assert await _read(two, "t") == early.pieces


async def test_a_long_stream_arrives_whole_and_in_order(
    gateways: list[NatsResponseEvents],
) -> None:
    one, two = gateways
    follower = Follower(two, "t")
    for number in range(500):
        one.publish("t", _piece(number, last=number == 499, size=5000))
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(follower.task, WAIT_S)
    assert [p.first for p in follower.pieces] == list(range(500))


async def test_what_is_larger_than_a_message_is_cut_or_left_out(
    gateways: list[NatsResponseEvents],
) -> None:
    one, two = gateways
    one.publish("t", _piece(0, 5, size=400_000))
    one.publish("t", _piece(5, size=3_000_000))
    one.publish("t", _piece(6, 2))
    one.publish("t", _piece(8, size=3_000_000, last=True))
    pieces = await _read(two, "t")
    assert [p.first for p in pieces] == [0, 2, 4, 6, 9]
    whole = b"".join(p.frames for p in pieces)
    assert whole == _piece(0, 5, size=400_000).frames + _piece(6, 2).frames
    assert pieces[-1] == Piece(9, b"", last=True)


async def test_messages_larger_than_a_request_of_the_follower_arrive(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    server = NatsServer(folder, max_payload=8 * 1024 * 1024)
    server.start()
    try:
        async with NatsResponseEvents(server.config, "one") as events:
            await _until(lambda: events.connected)
            sizes = (10, 6_000_000, 5_000_000, 10, 10)
            for number, size in enumerate(sizes):
                events.publish("t", _piece(number, size=size, last=number == 4))
            pieces = await _read_soon(events, "t")
            assert [len(p.frames) > 1000 for p in pieces] == [False, True, True, False, False]
    finally:
        server.kill()


async def test_closing_it_deletes_its_consumer(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    stream = Stream(ensured)
    follower = Follower(gateways[1], "t")
    await _eventually(stream.consumers, 1)
    await follower.close()
    await _eventually(stream.consumers, 0)
    gateways[0].publish("t", _piece(0, last=True))
    await _read(gateways[1], "t")
    await _eventually(stream.consumers, 0)


async def _eventually(count: Callable[[], object], wanted: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while await count() != wanted:  # type: ignore[misc]
            await asyncio.sleep(0.02)


async def test_what_is_kept_is_read_without_waiting_for_more(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    one, two = gateways
    stream = Stream(ensured)
    assert await two.kept("t") == []
    assert await two.kept("evil.>") == []
    said = [_piece(number, size=5000) for number in range(100)]
    for piece in said:
        one.publish("t", piece)
    one.publish("other", _piece(0, last=True))
    await _eventually(stream.messages, 101)
    assert await two.kept("t") == said
    one.publish("t", _piece(100, last=True))
    await _eventually(stream.messages, 102)
    assert await two.kept("t") == [*said, _piece(100, last=True)]
    await _eventually(stream.consumers, 0)


async def test_of_what_is_kept_all_is_read_or_nothing(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    one, two = gateways
    one.publish("t", _piece(0, 3))
    await _eventually(Stream(ensured).messages, 1)
    ensured.signal(signal.SIGSTOP)
    try:
        with pytest.raises(PartUnavailable) as failed:
            await two.kept("t")
    finally:
        ensured.signal(signal.SIGCONT)
    assert failed.value.part == "nats"
    assert await _kept_soon(two, "t") == [_piece(0, 3)]


async def _kept_soon(events: NatsResponseEvents, trace_id: str) -> Sequence[Piece]:
    """From a server that was frozen: it may have to be connected to anew."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await events.kept(trace_id)
            except PartUnavailable:
                await asyncio.sleep(0.05)


async def test_messages_of_others_among_those_kept_are_left_out(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    gateways[0].publish("t", _piece(0))
    await _eventually(Stream(ensured).messages, 1)
    client = await nats.connect(ensured.config.url, token=ensured.config.token)
    await client.jetstream().publish("evt.responses.t", b"none of ours")
    await client.close()
    assert await gateways[1].kept("t") == [_piece(0)]


async def test_a_cancel_is_told_to_every_gateway(gateways: list[NatsResponseEvents]) -> None:
    one, two = gateways
    told: list[tuple[str, str]] = []

    def broken(_trace_id: str) -> None:
        raise RuntimeError

    two.on_cancel(broken)
    one.on_cancel(lambda trace_id: told.append(("one", trace_id)))
    two.on_cancel(lambda trace_id: told.append(("two", trace_id)))
    one.cancel("t")
    one.cancel("evil.>")
    await _until(lambda: len(told) == 2)
    assert sorted(told) == [("one", "t"), ("two", "t")]


async def test_without_a_server_nothing_waits_and_nothing_raises() -> None:
    for url in ("", "nats://127.0.0.1:1"):
        async with NatsResponseEvents(NatsConfig(url=url), "one") as events:
            events.on_cancel(lambda _: None)
            events.publish("t", _piece(0))
            events.cancel("t")
            with pytest.raises(PartUnavailable) as failed:
                await anext(events.follow("t"))
            assert (failed.value.part, events.connected) == ("nats", False)
            if not url:
                assert await events.kept("t") == ()
                continue
            with pytest.raises(PartUnavailable):
                await events.kept("t")


async def test_what_is_said_before_the_server_is_there_arrives_later(
    nats_server: NatsServer,
) -> None:
    """Nobody but this gateway makes the stream."""
    nats_server.kill()
    async with NatsResponseEvents(nats_server.config, "one") as events:
        events.publish("t", _piece(0, 3))
        events.publish("t", _piece(3, last=True))
        nats_server.start()
        await _until(lambda: events.connected)
        assert await _read_soon(events, "t") == [_piece(0, 3), _piece(3, last=True)]


async def _read_soon(events: NatsResponseEvents, trace_id: str) -> list[Piece]:
    """As `_read`, from a stream that may not be there yet."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await _read(events, trace_id)
            except PartUnavailable:
                await asyncio.sleep(0.05)


async def test_a_restarted_server_shows_a_gap_at_most_and_the_end_always(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    one, two = gateways
    one.publish("t", _piece(0))
    follower = Follower(two, "t")
    await _until(lambda: follower.pieces)
    ensured.kill()
    one.publish("t", _piece(1))
    ensured.start()
    await _until(lambda: one.connected and two.connected)
    one.publish("t", _piece(2))
    one.publish("t", _piece(3, last=True))
    await asyncio.wait_for(follower.task, WAIT_S)
    assert (follower.pieces[0], follower.pieces[-1].last) == (_piece(0), True)
    firsts = [p.first for p in follower.pieces]
    assert firsts == sorted(set(firsts))


async def test_an_end_that_went_with_the_server_is_said_again(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    one, two = gateways
    one.publish("t", _piece(0))
    follower = Follower(two, "t")
    await _until(lambda: follower.pieces)
    ensured.signal(signal.SIGSTOP)  # takes the bytes and never stores them
    one.publish("t", _piece(1, last=True))
    await asyncio.sleep(0.1)
    ensured.kill()
    ensured.start()
    await asyncio.wait_for(follower.task, WAIT_S)
    assert follower.pieces[-1].last
    assert follower.pieces[-1].first in (1, 2)


async def test_a_wiped_stream_is_made_again(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    ensured.kill()
    ensured.wipe()
    ensured.start()
    await _until(lambda: all(each.connected for each in gateways))
    gateways[0].publish("t", _piece(0, last=True))  # nobody takes it, and so it is sent again
    pieces = await _read_soon(gateways[1], "t")
    assert pieces[-1].last


async def test_a_frozen_server_holds_up_nobody_and_fills_no_memory(
    gateways: list[NatsResponseEvents], ensured: NatsServer
) -> None:
    one, two = gateways
    follower = Follower(two, "t")
    one.publish("t", _piece(0))
    await _until(lambda: follower.pieces)
    ensured.signal(signal.SIGSTOP)
    try:
        for number in range(1, 400):
            one.publish("t", _piece(number, size=100_000))
            await asyncio.sleep(0)
        one.publish("t", _piece(400, last=True))
        one.cancel("t")
        assert one._outbox._bytes <= 2 * MOST_BYTES
        with pytest.raises(PartUnavailable):
            async with asyncio.timeout(WAIT_S):
                await anext(two.follow("another"))
    finally:
        ensured.signal(signal.SIGCONT)
    await asyncio.wait_for(follower.task, WAIT_S)
    assert follower.pieces[-1].last
    assert follower.pieces[-1].first > sum(p.frames.count(b"\n\n") for p in follower.pieces)


async def test_a_server_that_stays_away_ends_a_follower(ensured: NatsServer) -> None:
    async with NatsResponseEvents(ensured.config, "one", patience_s=0.5) as events:
        await _until(lambda: events.connected)
        events.publish("t", _piece(0))
        follower = Follower(events, "t")
        await _until(lambda: follower.pieces)
        ensured.kill()
        with pytest.raises(PartUnavailable):
            await asyncio.wait_for(follower.task, WAIT_S)


async def test_leaving_sends_what_is_under_way(ensured: NatsServer) -> None:
    stream = Stream(ensured)
    async with NatsResponseEvents(ensured.config, "one") as events:
        await _until(lambda: events.connected)
        for number in range(100):
            events.publish("t", _piece(number, last=number == 99))
    await _eventually(stream.messages, 100)
