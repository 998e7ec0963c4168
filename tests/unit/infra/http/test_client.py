"""The client against servers that answer as they should."""

import asyncio

import pytest

from appliance.infra.http.client import HttpClient, Target
from appliance.infra.http.errors import BodyTooLarge, ConnectFailed, ConnectTimeout, Unsendable

from .conftest import LIMIT_S, OK, SOON_S, STREAM, Peer, Serve


async def answer(peer: Peer, *pieces: bytes) -> None:
    await peer.request()
    await peer.send(*pieces)


async def fetch(client: HttpClient, url: str, body: bytes = b"") -> bytes:
    response = await client.send("POST", url, {}, body, timeout_s=LIMIT_S)
    return await response.read(1 << 24, LIMIT_S)


async def test_a_request_is_written_as_documented(serve: Serve, client: HttpClient) -> None:
    server = await serve(lambda peer: answer(peer, OK))
    target = Target.parse(server.url + "v1?key=1").at("/chat/completions")
    response = await client.send(
        "POST", target, [("X-A", "é"), ("X-A", "2")], b"hi", timeout_s=LIMIT_S
    )
    assert await response.read(10, LIMIT_S) == b"ok"
    assert server.requests[0].split(b"\r\n") == [
        b"POST /v1/chat/completions?key=1 HTTP/1.1",
        b"Host: " + server.url.split("/")[2].encode(),
        b"X-A: \xe9",
        b"X-A: 2",
        b"Accept-Encoding: identity",
        b"Content-Length: 2",
        b"",
        b"hi",
    ]


async def test_a_get_has_no_length(serve: Serve, client: HttpClient) -> None:
    server = await serve(lambda peer: answer(peer, OK))
    await (await client.send("GET", server.url, {}, timeout_s=LIMIT_S)).read(10, LIMIT_S)
    assert b"ontent-" not in server.requests[0]


async def test_headers_are_found_whatever_their_case_and_joined(
    serve: Serve, client: HttpClient
) -> None:
    head = b"HTTP/1.1 404 Nope\r\nX-One: 1\r\nx-two: a\r\nX-Two: b\r\nContent-Length: 0\r\n\r\n"
    server = await serve(lambda peer: answer(peer, *(head[i : i + 1] for i in range(len(head)))))
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    assert response.status == 404
    assert response.header("x-ONE") == "1"
    assert response.header("X-Two") == "a, b"
    assert response.header("x-three") is None
    assert await response.read(10, LIMIT_S) == b""


async def test_chunks_arrive_when_they_are_sent(serve: Serve, client: HttpClient) -> None:
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"3\r\nabc\r\n")
        await step.wait()
        await peer.send(b"2\r\nde\r\n1\r\nf\r\n", b"2;ext=1\r\ng", b"h\r\n0\r\nTrailer: x\r\n\r\n")

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    chunks = response.chunks(LIMIT_S)
    assert await anext(chunks) == b"abc"
    step.set()
    assert await anext(chunks) == b"def"
    assert b"".join([piece async for piece in chunks]) == b"gh"
    assert [piece async for piece in chunks] == []


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: identity\r\n\r\n",
    ],
)
async def test_a_body_may_end_with_the_connection(
    serve: Serve, client: HttpClient, head: bytes
) -> None:
    server = await serve(lambda peer: answer(peer, head, b"body", b"body"))
    assert await fetch(client, server.url) == b"bodybody"
    assert await fetch(client, server.url) == b"bodybody"
    assert server.connections == 2


async def test_interim_responses_are_skipped(serve: Serve, client: HttpClient) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server = await serve(lambda peer: answer(peer, interim, interim + OK[:20], OK[20:]))
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    assert (response.status, response.header("link")) == (200, None)
    assert await response.read(10, LIMIT_S) == b"ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_statuses_without_a_body_end_at_once(
    serve: Serve, client: HttpClient, status: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await answer(peer, b"HTTP/1.1 " + status + b"\r\n\r\n")
        await answer(peer, OK)

    server = await serve(script)
    assert await fetch(client, server.url) == b""
    assert await fetch(client, server.url) == b"ok"
    assert server.connections == 1


async def test_redirects_and_encodings_are_left_alone(serve: Serve, client: HttpClient) -> None:
    head = b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n?"
    server = await serve(lambda peer: answer(peer, head))
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    assert (response.status, await response.read(9, LIMIT_S)) == (302, b"?")


async def test_large_bodies_travel_both_ways(serve: Serve, client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        body = (await peer.request()).partition(b"\r\n\r\n")[2]
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server = await serve(script)
    body = bytes(range(256)) * 40_000
    assert await fetch(client, server.url, body) == body


async def test_a_body_over_the_limit_is_refused_and_hung_up_on(
    serve: Serve, client: HttpClient
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        await peer.gone()

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    with pytest.raises(BodyTooLarge):
        await response.read(49, LIMIT_S)
    await asyncio.wait_for(server.hung_up.wait(), SOON_S)


async def test_a_slow_reader_holds_the_server_back(serve: Serve, client: HttpClient) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(400):
            await peer.send(b"x" * 65536)
            sent += 65536

    server = await serve(script)
    response = await client.send("GET", server.url, {}, timeout_s=LIMIT_S)
    chunks = response.chunks(LIMIT_S)
    first = await anext(chunks)
    await asyncio.sleep(0.3)
    held_at = sent
    assert held_at < 400 * 65536  # the rest of it is in neither process
    second = await anext(chunks)
    assert len(second) < 1 << 20
    rest = [len(piece) async for piece in chunks]
    assert len(first) + len(second) + sum(rest) == 400 * 65536


async def test_a_refused_connection_is_told_apart(client: HttpClient, unused_port: int) -> None:
    with pytest.raises(ConnectFailed) as caught:
        await client.send("GET", f"http://127.0.0.1:{unused_port}/", {}, timeout_s=LIMIT_S)
    assert not isinstance(caught.value, ConnectTimeout)


async def test_a_name_that_is_none_is_a_failed_connection(client: HttpClient) -> None:
    with pytest.raises(ConnectFailed):
        await client.send("GET", f"http://{'a' * 70}.invalid/", {}, timeout_s=LIMIT_S)


async def test_a_connection_that_hangs_times_out(full_backlog: str, client: HttpClient) -> None:
    with pytest.raises(ConnectTimeout):
        await client.send("GET", full_backlog, {}, timeout_s=LIMIT_S, connect_timeout_s=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\nx-b: 2"),
        ("x-a", "1\rx"),
        ("x-a", "nul\0"),
        ("x-a", "snow\u2603"),
        ("x-a: 1\r\nx-b", "2"),
        ("x a", "1"),
        ("", "1"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("HOST", "elsewhere"),
        ("Connection", "close"),
    ],
)
async def test_a_header_that_would_change_the_message_is_refused(
    client: HttpClient, name: str, value: str
) -> None:
    with pytest.raises(Unsendable):
        await client.send("GET", "http://127.0.0.1:1/", {name: value}, timeout_s=LIMIT_S)


@pytest.mark.parametrize(
    "url",
    [
        "http://h/a b",
        "http://h/\r\nx: y",
        "http://h/\n",
        "http://h/\0",
        "http://h/é",
        "ftp://h/",
        "http:///x",
        "http://h:x/",
        "http://user:word@h/",
        "h/x",
    ],
)
async def test_a_url_that_is_not_plain_is_refused(client: HttpClient, url: str) -> None:
    with pytest.raises(Unsendable):
        await client.send("GET", url, {}, timeout_s=LIMIT_S)
    with pytest.raises(Unsendable):
        Target.parse("http://h/").at("a\r\nb")


async def test_an_unusual_method_is_refused(client: HttpClient) -> None:
    for method in ("HEAD", "CONNECT", "get", "GET / HTTP/1.1\r\n"):
        with pytest.raises(Unsendable):
            await client.send(method, "http://127.0.0.1:1/", {}, timeout_s=LIMIT_S)


def test_targets_keep_host_port_and_query() -> None:
    target = Target.parse("HTTPS://[::1]:8443/v1/?a=b").at("models")
    assert (target.origin.host, target.origin.port, target.origin.tls) == ("::1", 8443, True)
    assert (target.host, target.path) == ("[::1]:8443", "/v1/models?a=b")
    assert Target.parse("http://h").path == "/"
    assert Target.parse("http://h").at("/v1").path == "/v1"
