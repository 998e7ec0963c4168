"""The scripted server does what its scripts say; asked with httpx, a client that is not ours."""

import asyncio
import json
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.actions import (
    Behaviour,
    Cut,
    Pause,
    Reset,
    Stall,
    after_chunks,
    alone,
    before_headers,
    paced,
    split,
    then,
)
from tests.fakes.answers import (
    WORDS,
    chat,
    drop_reused,
    not_http,
    reply,
    reply_json,
)
from tests.fakes.scripted_backend import ScriptedBackend, closed_port
from tests.fakes.until import until

from .asking import ask, ask_stream, content


def raw_exchange(backend: ScriptedBackend, **fields: Any) -> bytes:
    """Everything a socket gets until the server closes or a second of silence."""
    body = json.dumps({"model": "m", "stream": True} | fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", backend.port), timeout=1) as sock:
        sock.sendall(head.encode() + body)
        got = b""
        while piece := sock.recv(65536):
            got += piece
        return got


def test_queue_goes_before_model_and_path_before_both(backend: ScriptedBackend) -> None:
    backend.script("m", reply(501), reply(502))
    backend.queue(reply(503))
    assert [ask(backend).status_code for _ in range(4)] == [503, 501, 502, 502]
    assert ask(backend, model="other").status_code == 200
    backend.on_path("POST /v1/chat/completions", reply(418))
    assert ask(backend).status_code == 418
    backend.on_path("GET /props", reply_json(200, {"n_ctx": 1}))
    assert httpx.get(f"{backend.url}/props?x=1").json() == {"n_ctx": 1}
    assert httpx.get(f"{backend.url}/nothing").status_code == 404


def test_it_records_what_it_received(backend: ScriptedBackend) -> None:
    with httpx.Client() as client:
        for _ in range(2):
            client.post(f"{backend.base_url}/x?y=1", content=b"{bad", headers={"X-A": "B"})
        client.get(f"{backend.base_url}/models")
    first, second = backend.requests
    assert (first.method, first.path, first.headers["x-a"]) == ("POST", "/v1/x?y=1", "B")
    assert (first.body, first.json, first.model, first.stream) == (b"{bad", None, "", False)
    assert (first.connection, first.reused, second.reused) == (1, 0, 1)
    assert first.hung_up_at is None
    assert first.finished_at is not None
    assert first.at <= first.finished_at <= second.at
    assert [probe.path for probe in backend.probes] == ["/v1/models"]
    assert backend.wait_request(2) is second
    with pytest.raises(AssertionError, match="request 3"):
        backend.wait_request(3, timeout_s=0.01)


@pytest.mark.parametrize(
    ("behaviour", "least_s"),
    [
        (before_headers(Pause(0.2), chat()), 0.2),
        (after_chunks(0, Pause(0.2), chat()), 0.2),
        (after_chunks(2, Pause(0.2), chat()), 0.2),
        (paced(chat(), 0.03), 0.2),
    ],
)
def test_pauses(backend: ScriptedBackend, behaviour: Behaviour, least_s: float) -> None:
    backend.script("m", behaviour)
    begun = time.monotonic()
    assert content(ask_stream(backend)) == "".join(WORDS)
    assert least_s <= time.monotonic() - begun < least_s + 30


@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [
        (before_headers(Stall(), chat()), b""),
        (after_chunks(0, Stall(), chat()), b"\r\n\r\n"),
        (after_chunks(3, Stall(), chat()), b" there"),
    ],
)
@pytest.mark.parametrize("linger", [True, False])
async def test_a_stall_lasts_until_the_client_hangs_up(
    backend: ScriptedBackend, behaviour: Behaviour, seen: bytes, linger: bool
) -> None:
    backend.script("m", behaviour)
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    body = b'{"model":"m","stream":true}'
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    if seen:
        await reader.readuntil(seen)
    request = await backend.await_request(1)
    await asyncio.sleep(0.05)
    assert request.hung_up_at is None
    left_at = time.monotonic()
    if linger:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    assert await backend.await_hang_up() is request
    assert request.hung_up_at is not None
    assert request.hung_up_at >= left_at
    assert request.finished_at is None


def test_split_cuts_code_points_and_keeps_the_bytes(backend: ScriptedBackend) -> None:
    backend.script("m", chat(("naïve ", "😀")))
    whole = ask(backend, stream=True).content
    assert "😀".encode() in whole
    backend.script("m", split(chat(("naïve ", "😀")), every=1))
    assert ask(backend, stream=True).content == whole
    at = whole.index("😀".encode()) + 2
    backend.script("m", then(split(chat(("naïve ", "😀")), at=[at]), Cut()))
    assert b"\xf0\x9f\r\n" in raw_exchange(backend)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (alone(Cut()), httpx.RemoteProtocolError),
        (alone(Reset()), httpx.ReadError),
        (after_chunks(3, Cut(), chat()), httpx.RemoteProtocolError),
        (after_chunks(3, Reset(), chat()), httpx.ReadError),
        (not_http(), httpx.RemoteProtocolError),
    ],
)
def test_it_hangs_up(
    backend: ScriptedBackend, behaviour: Behaviour, error: type[Exception]
) -> None:
    backend.script("m", behaviour)
    with pytest.raises(error):
        ask(backend, stream=True)


def test_a_cut_stream_has_neither_end(backend: ScriptedBackend) -> None:
    backend.script("m", after_chunks(3, Cut(), chat()))
    got = raw_exchange(backend)
    assert b" there" in got
    assert b" friend" not in got
    assert not got.endswith(b"0\r\n\r\n")


def test_a_kept_connection_closes_after_an_answer_or_at_the_next(backend: ScriptedBackend) -> None:
    backend.script("m", drop_reused(chat()))
    with httpx.Client() as client:
        url = f"{backend.base_url}/chat/completions"
        assert client.post(url, json={"model": "m"}).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(url, json={"model": "m"})
        backend.script("m", then(chat(), Cut()))
        for _ in range(2):
            assert client.post(url, json={"model": "m"}).status_code == 200
            until(lambda: backend.requests[-1].finished_at is not None)
            time.sleep(0.05)  # the end of the connection is on its way
    assert backend.connections == 3


def test_stopped_it_refuses_and_started_it_is_back_on_its_port(backend: ScriptedBackend) -> None:
    port = backend.port
    backend.stop()
    with pytest.raises(httpx.ConnectError):
        ask(backend)
    backend.start()
    assert (backend.port, ask(backend).status_code) == (port, 200)


def test_stopping_cuts_what_is_open(backend: ScriptedBackend) -> None:
    backend.script("m", after_chunks(2, Stall(), chat()))
    with httpx.stream("POST", f"{backend.base_url}/x", json={"model": "m", "stream": True}) as got:
        backend.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            got.read()


def test_a_closed_port_refuses() -> None:
    with closed_port() as port, pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")


def test_a_broken_script_is_told(backend: ScriptedBackend) -> None:
    backend.script("m", lambda received: received.json["nope"])
    answer = ask(backend)
    assert (answer.status_code, "KeyError" in answer.text) == (500, True)


def test_over_tls() -> None:
    certificate = Path(__file__).parents[2] / "fakes" / "loopback_tls.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate))
    with ScriptedBackend(tls=context) as backend:
        assert backend.base_url.startswith("https://")
        answer = httpx.get(f"{backend.base_url}/models", verify=trust)
        assert answer.json()["data"][0]["id"] == "scripted"
