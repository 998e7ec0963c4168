"""What is left of a body of which nothing more is wanted."""

import asyncio

from appliance.infra.http.client import HttpClient, Response

from .conftest import LIMIT_S, OK, SOON_S, STREAM, Peer, Serve

FIRST = STREAM + b"3\r\nabc\r\n"
LAST = b"0\r\n\r\n"


async def begun(client: HttpClient, url: str) -> Response:
    """A response of which the first piece was read."""
    response = await client.send("GET", url, {}, timeout_s=LIMIT_S)
    assert (await anext(response.chunks(LIMIT_S))).startswith(b"abc")
    return response


async def test_a_drained_connection_is_used_again(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(FIRST, b"2\r\nde\r\n", LAST)
        await peer.request()
        await peer.send(OK)

    server = await serve(script)
    await (await begun(client, server.url)).drain(LIMIT_S)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    assert await response.read(10, LIMIT_S) == b"ok"
    await response.drain(LIMIT_S)  # nothing is left
    assert server.connections == 1


async def test_a_body_that_does_not_end_is_given_up(serve: Serve, client: HttpClient) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.send(FIRST)
        await peer.gone()

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(FIRST)
        while True:
            await peer.send(b"1\r\nx\r\n", b"1\r\nx\r\n")

    for script in (silent, endless):
        server = await serve(script)
        await (await begun(client, server.url)).drain(0.05)
        async with asyncio.timeout(SOON_S):
            await server.hung_up.wait()


async def test_an_end_that_goes_wrong_is_nobodys_error(serve: Serve, client: HttpClient) -> None:
    for end in (b"", b"zz\r\n"):

        async def script(peer: Peer, end: bytes = end) -> None:
            await peer.request()
            await peer.send(FIRST, end)

        server = await serve(script)
        response = await begun(client, server.url)
        await response.drain(LIMIT_S)
        assert await response.read(10, LIMIT_S) == b""
