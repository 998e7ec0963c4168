"""The client against servers that stall, hang up, lie and send garbage, and callers that leave."""

import asyncio
from contextlib import aclosing

import pytest

from appliance.infra.http.client import HttpClient, Response
from appliance.infra.http.connection import MAX_HEAD_BYTES
from appliance.infra.http.errors import ClosedEarly, Cut, Malformed, ReadTimeout

from .conftest import LIMIT_S, OK, SOON_S, STREAM, Peer, Serve


async def get(client: HttpClient, url: str, timeout_s: float = LIMIT_S) -> bytes:
    response = await client.send("GET", url, {}, timeout_s=timeout_s)
    return await response.read(1 << 24, timeout_s)


async def read_into(got: list[bytes], response: Response, timeout_s: float) -> None:
    async for piece in response.chunks(timeout_s):
        got.append(piece)


async def test_closed_without_an_answer_on_a_fresh_connection_is_the_callers(
    serve: Serve, client: HttpClient
) -> None:
    server = await serve(lambda peer: peer.request())
    with pytest.raises(ClosedEarly):
        await get(client, server.url)
    assert server.connections == 1


async def test_reset_without_an_answer_is_the_same(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    server = await serve(script)
    with pytest.raises(ClosedEarly):
        await get(client, server.url)


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
async def test_a_reused_connection_that_dies_is_replaced_once(
    serve: Serve, client: HttpClient, delay_s: float
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.server.connections == 1:
            await peer.request()
            await asyncio.sleep(delay_s)

    server = await serve(script)
    assert await get(client, server.url) == b"ok"
    assert await get(client, server.url) == b"ok"
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_the_replacement_is_not_replaced(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.server.connections == 1:
            await peer.send(OK)
            await peer.request()

    server = await serve(script)
    assert await get(client, server.url) == b"ok"
    with pytest.raises(ClosedEarly):
        await get(client, server.url)
    assert server.connections == 2


@pytest.mark.parametrize("sent", [b"H", b"HTTP/1.1 200 OK\r\nA: b", b"HTTP/1.1 100 C\r\n\r\n"])
async def test_closed_within_the_headers_is_a_cut(
    serve: Serve, client: HttpClient, sent: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)

    server = await serve(script)
    with pytest.raises(Cut):
        await get(client, server.url)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    "head", [STREAM + b"5\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]
)
async def test_closed_within_the_body_gives_what_came_then_a_cut(
    serve: Serve, client: HttpClient, head: bytes, reset: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"abc")
        await asyncio.sleep(0.02)
        if reset:
            peer.reset()

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    chunks = response.chunks(LIMIT_S)
    assert await anext(chunks) == b"abc"
    with pytest.raises(Cut):
        await anext(chunks)
    assert [piece async for piece in chunks] == []


async def test_a_reset_does_not_end_a_body_that_ends_with_the_connection(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await asyncio.sleep(0.02)
        peer.reset()

    server = await serve(script)
    response = await client.send("POST", server.url, {}, timeout_s=LIMIT_S)
    with pytest.raises(Cut):
        await response.read(100, LIMIT_S)


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"<html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nxyz",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * (4 * MAX_HEAD_BYTES),
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * MAX_HEAD_BYTES,
        b"HTTP/1.1 103 Hint\r\n\r\n" * MAX_HEAD_BYTES,
    ],
)
async def test_what_is_not_http_is_malformed(serve: Serve, client: HttpClient, sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await peer.gone()

    server = await serve(script)
    with pytest.raises(Malformed):
        await get(client, server.url)
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)


@pytest.mark.parametrize("sent", [b"zz\r\n", b"3\r\nabcd\r\n", b"0\r\nT: " + b"x" * 300_000])
async def test_a_body_that_is_not_http_gives_what_came_then_malformed(
    serve: Serve, client: HttpClient, sent: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"2\r\nok\r\n", sent)
        await peer.gone()

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    got: list[bytes] = []
    with pytest.raises(Malformed):
        await read_into(got, response, LIMIT_S)
    assert b"".join(got).startswith(b"ok")


async def test_no_headers_in_time(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(100):  # some of it, for ever, is not in time
            await peer.send(b"HTTP/1.1 103 Hint\r\n\r\n")
            await asyncio.sleep(0.02)

    server = await serve(script)
    with pytest.raises(ReadTimeout):
        await get(client, server.url, timeout_s=0.2)


async def test_silence_within_the_body(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        for _ in range(6):
            await asyncio.sleep(0.25)
            await peer.send(b"1\r\nx\r\n")
        await peer.gone()

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    got: list[bytes] = []
    with pytest.raises(ReadTimeout):
        await read_into(got, response, 1.0)
    assert len(got) == 6  # each one moved the limit
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)


async def test_a_caller_cancelled_before_the_headers_hangs_up_at_once(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    server = await serve(script)
    task = asyncio.create_task(get(client, server.url))
    while not server.requests:
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)


async def test_a_caller_cancelled_in_the_body_hangs_up_at_once(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"2\r\nok\r\n")
        await peer.gone()

    server = await serve(script)
    task = asyncio.create_task(get(client, server.url))
    while not server.requests:
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)


async def test_a_caller_cancelled_while_connecting_leaves_nothing(
    full_backlog: str, client: HttpClient
) -> None:
    task = asyncio.create_task(get(client, full_backlog))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_a_half_read_response_hangs_up_at_once(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"2\r\nok\r\n")
        await peer.gone()

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    async with aclosing(response):
        async for piece in response.chunks(LIMIT_S):
            assert piece == b"ok"
            break
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)


async def test_closing_the_client_cuts_what_is_being_read(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")  # ends with the connection: not with ours
        await peer.gone()

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    reading = asyncio.create_task(response.read(10, LIMIT_S))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(Cut):
        await reading
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)
