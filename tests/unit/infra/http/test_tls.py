"""The client over TLS: the same promises, and no trust in whoever answers."""

import asyncio
import ssl
from pathlib import Path

import pytest

from appliance.infra.http.client import HttpClient
from appliance.infra.http.errors import ConnectFailed, ConnectTimeout

from .conftest import LIMIT_S, OK, SOON_S, STREAM, Peer, Serve

CERTIFICATE = Path(__file__).parents[3] / "fakes" / "loopback_tls.pem"


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def trusting() -> HttpClient:
    return HttpClient(tls=ssl.create_default_context(cafile=str(CERTIFICATE)))


async def test_requests_and_streams_share_a_connection(
    serve: Serve, server_tls: ssl.SSLContext, trusting: HttpClient
) -> None:
    big = b"x" * 1_000_000

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(STREAM, b"f4240\r\n" + big, b"\r\n0\r\n\r\n")

    server = await serve(script, tls=server_tls)
    response = await trusting.send("POST", server.url, {}, b"x" * 300_000, timeout_s=LIMIT_S)
    assert await response.read(10, LIMIT_S) == b"ok"
    response = await trusting.send("GET", server.url, {}, timeout_s=LIMIT_S)
    assert b"".join([piece async for piece in response.chunks(LIMIT_S)]) == big
    assert server.connections == 1
    await trusting.aclose()


async def test_a_certificate_nobody_vouches_for_is_refused(
    serve: Serve, server_tls: ssl.SSLContext, client: HttpClient
) -> None:
    server = await serve(Peer.request, tls=server_tls)
    with pytest.raises(ConnectFailed):
        await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    assert server.requests == []


async def test_a_server_without_tls_is_a_failed_connection(
    serve: Serve, trusting: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(script)
    with pytest.raises(ConnectFailed):
        await trusting.send("GET", server.url.replace("http:", "https:"), {}, timeout_s=LIMIT_S)
    await trusting.aclose()


async def test_a_handshake_that_hangs_times_out(serve: Serve, trusting: HttpClient) -> None:
    server = await serve(Peer.gone)
    url = server.url.replace("http:", "https:")
    with pytest.raises(ConnectTimeout):
        await trusting.send("GET", url, {}, timeout_s=LIMIT_S, connect_timeout_s=0.1)
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)
    await trusting.aclose()


async def test_cancelling_hangs_up_at_once(
    serve: Serve, server_tls: ssl.SSLContext, trusting: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    server = await serve(script, tls=server_tls)
    task = asyncio.create_task(trusting.send("GET", server.url, {}, timeout_s=LIMIT_S))
    while not server.requests:
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)
    await trusting.aclose()
