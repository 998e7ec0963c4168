"""A target pinned to an address: the name is asked for and proved, and never looked up."""

import ssl
from pathlib import Path

import pytest

from appliance.infra.http.client import HttpClient
from appliance.infra.http.errors import ConnectFailed
from appliance.infra.http.target import Target

from .conftest import LIMIT_S, OK, Peer, Serve

CERTIFICATE = Path(__file__).parents[3] / "fakes" / "loopback_tls.pem"


async def answer(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK)
    await peer.request()
    await peer.send(OK)


def at(url: str, name: str) -> Target:
    return Target.parse(url.replace("127.0.0.1", name)).pinned("127.0.0.1")


async def test_the_address_is_connected_to_and_the_name_is_asked_for(
    serve: Serve, client: HttpClient
) -> None:
    server = await serve(answer)
    target = at(server.url, "no-such-name.invalid")
    response = await client.send("GET", target, {}, timeout_s=LIMIT_S)
    assert (response.status, await response.read(10, LIMIT_S)) == (200, b"ok")
    assert b"Host: no-such-name.invalid:" in server.requests[0]


async def test_a_pinned_target_does_not_share_connections_with_its_name(
    serve: Serve, client: HttpClient
) -> None:
    server = await serve(answer)
    for target in (Target.parse(server.url), Target.parse(server.url).pinned("127.0.0.1")):
        for _ in range(2):
            response = await client.send("GET", target, {}, timeout_s=LIMIT_S)
            await response.read(10, LIMIT_S)
    assert server.connections == 2


@pytest.mark.parametrize(("name", "proved"), [("localhost", True), ("other.invalid", False)])
async def test_tls_proves_the_name_and_not_the_address(
    name: str, proved: bool, serve: Serve
) -> None:
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.sni_callback = lambda _socket, sni, _context: names.append(sni)
    server = await serve(answer, tls=context)
    client = HttpClient(tls=ssl.create_default_context(cafile=str(CERTIFICATE)))
    try:
        response = await client.send("GET", at(server.url, name), {}, timeout_s=LIMIT_S)
        await response.read(10, LIMIT_S)
        assert proved
    except ConnectFailed:
        assert not proved
    assert names == [name]
    await client.aclose()
