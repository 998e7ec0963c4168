"""Which connections are used again, and which must not be."""

import asyncio

import pytest

from appliance.infra.http.client import HttpClient
from appliance.infra.http.errors import Cut

from .conftest import LIMIT_S, OK, SOON_S, STREAM, Peer, Serve


async def get(client: HttpClient, url: str, body: bytes = b"") -> bytes:
    async with asyncio.timeout(SOON_S):  # below the client's: it answers when all is there
        response = await client.send("POST", url, {}, body, timeout_s=LIMIT_S)
        return await response.read(100, LIMIT_S)


async def answer_all(peer: Peer, reply: bytes = OK) -> None:
    while True:
        await peer.request()
        await peer.send(reply)


async def test_one_connection_serves_one_caller_after_another(
    serve: Serve, client: HttpClient
) -> None:
    server = await serve(answer_all)
    for _ in range(20):
        assert await get(client, server.url, b"x") == b"ok"
    assert (server.connections, len(server.requests)) == (1, 20)


async def test_a_stream_read_whole_is_kept(serve: Serve, client: HttpClient) -> None:
    server = await serve(lambda peer: answer_all(peer, STREAM + b"2\r\nok\r\n0\r\n\r\n"))
    for _ in range(3):
        response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
        assert [piece async for piece in response.chunks(LIMIT_S)] == [b"ok"]
        await response.aclose()
        await response.aclose()
    assert server.connections == 1


async def test_a_response_closed_unread_is_kept_when_all_of_it_is_here(
    serve: Serve, client: HttpClient
) -> None:
    server = await serve(answer_all)
    await (await client.send("GET", server.url, {}, timeout_s=LIMIT_S)).aclose()
    assert await get(client, server.url) == b"ok"
    assert server.connections == 1


async def test_callers_at_once_get_a_connection_each(serve: Serve, client: HttpClient) -> None:
    server = await serve(answer_all)
    for _ in range(3):
        await asyncio.gather(*(get(client, server.url) for _ in range(8)))
    assert server.connections == 8


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"H",
        OK.replace(b"Content", b"Connection: close\r\nContent") + b"x",
    ],
)
async def test_what_follows_a_response_never_answers_the_next_request(
    serve: Serve, client: HttpClient, reply: bytes
) -> None:
    server = await serve(lambda peer: answer_all(peer, reply))
    for _ in range(2):
        assert await get(client, server.url) == b"ok"
    assert server.connections == 2


async def test_a_response_nobody_asked_for_is_not_taken_for_one(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK, OK.replace(b"ok", b"no"))
        await answer_all(peer)

    server = await serve(script)
    assert await get(client, server.url) == b"ok"
    await asyncio.sleep(0.05)
    assert await get(client, server.url) == b"ok"
    assert server.connections == 2


async def test_a_server_that_speaks_first_is_not_answered(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(OK.replace(b"ok", b"no"))
        await answer_all(peer)

    server = await serve(script)
    first = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    # It may arrive after the request was sent: then it is an answer, and a second one follows.
    assert await first.read(10, LIMIT_S) in (b"ok", b"no")
    await asyncio.sleep(0.05)


async def test_an_answer_before_the_request_was_read_is_not_reused(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(LIMIT_S)

    server = await serve(script)
    for _ in range(2):
        response = await client.send("POST", server.url, {}, b"x" * (32 << 20), timeout_s=LIMIT_S)
        assert (response.status, await response.read(10, LIMIT_S)) == (413, b"no")
    assert server.connections == 2


async def test_idle_connections_are_closed_after_their_time(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()

    server = await serve(script)
    client = HttpClient(idle_s=0.1)
    assert await get(client, server.url) == b"ok"
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)
    await client.aclose()


async def test_the_oldest_goes_when_too_many_idle(serve: Serve) -> None:
    server = await serve(answer_all)
    client = HttpClient(max_idle_per_origin=2)
    await asyncio.gather(*(get(client, server.url) for _ in range(5)))
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)
    await asyncio.gather(*(get(client, server.url) for _ in range(5)))
    assert server.connections == 8
    await client.aclose()


async def test_a_cut_connection_is_not_kept(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")

    server = await serve(script)
    for _ in range(2):
        with pytest.raises(Cut):
            await get(client, server.url)
    assert server.connections == 2
