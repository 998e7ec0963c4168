"""Every surface on every dialect: each cell of the table is a live request through a gateway.

A surface is one more row in `clients.CLIENTS`, a dialect one more in `upstreams.UPSTREAMS`; the
last test fails when the product has one that is not here.
"""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from appliance.infra.backends import BACKENDS
from appliance.presentation.surface import SURFACES
from tests.cross.asking import PIXEL, Ask, Client
from tests.cross.clients import CLIENTS, seen, send
from tests.cross.upstreams import UPSTREAMS, OpenAILike, Upstream
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import wait_spooled

# Surfaces that hold no conversation: what they must carry is in tests of their own.
CONTINUATIONS = {"openai_completions"}

cells = pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda u: u.dialect)
surfaces = pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.surface)
with_turns = pytest.mark.parametrize(
    "client", [client for client in CLIENTS if client.converses], ids=lambda c: c.surface
)
shapes = pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, ScriptedBackend]]:
    running = {upstream.dialect: ScriptedBackend() for upstream in UPSTREAMS}
    for backend in running.values():
        backend.start()
    yield running
    for backend in running.values():
        backend.stop()


@pytest.fixture(scope="module")
def gateway(
    backends: dict[str, ScriptedBackend], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    tables = ["[routing]\nretries = 0\n"]
    for upstream in UPSTREAMS:
        tables.append(upstream.config(backends[upstream.dialect].url))
    with GatewayProcess(tmp_path_factory.mktemp("cross"), "\n".join(tables)) as running:
        yield running


@pytest.fixture
def http(gateway: GatewayProcess, backends: dict[str, ScriptedBackend]) -> Iterator[httpx.Client]:
    for backend in backends.values():
        backend.forget()
    with httpx.Client(base_url=gateway.url, timeout=60) as ready:
        yield ready


@pytest.fixture
def backend(upstream: Upstream, backends: dict[str, ScriptedBackend]) -> ScriptedBackend:
    return backends[upstream.dialect]


def model(upstream: Upstream) -> str:
    return f"on-{upstream.dialect}"


@cells
@surfaces
@shapes
def test_text(
    client: Client, upstream: Upstream, stream: bool, http: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(upstream.says("Hello", " naïve", " 你好", "."))
    ask = Ask("Say hello, naïve one.", stream=stream)
    response = send(http, client, model(upstream), ask)
    answer = seen(client, ask, response)
    assert (answer.text, answer.finish, answer.calls) == ("Hello naïve 你好.", "stop", [])
    assert (answer.reasoning, answer.error) == ("", None)
    assert (answer.input_tokens, answer.output_tokens) == (7, 4)
    assert response.headers["x-selected-backend"] == f"up-{upstream.dialect}"
    assert "x-dropped" not in response.headers
    got = upstream.got(backend.wait_request())
    assert got.model == "upstream-model"
    assert got.stream is stream
    assert got.texts == [("system", "Be terse."), ("user", "Say hello, naïve one.")]
    assert got.max_tokens == 300


@cells
@with_turns
@shapes
def test_tools(
    client: Client, upstream: Upstream, stream: bool, http: httpx.Client, backend: ScriptedBackend
) -> None:
    """Offered, called, answered: the result arrives where the dialect wants it."""
    backend.queue(upstream.calls("weather", {"city": "Zürich"}), upstream.says("Rain."))
    ask = Ask("How is the weather?", stream=stream, tools=True)
    answer = seen(client, ask, send(http, client, model(upstream), ask))
    ((call_id, name, arguments),) = answer.calls
    assert (name, arguments, answer.finish) == ("weather", {"city": "Zürich"}, "tool_calls")
    assert answer.text == ""
    assert upstream.got(backend.wait_request()).tools == ["weather"]
    after = Ask(
        "How is the weather?",
        stream=stream,
        tools=True,
        call=(call_id, '{"city":"Zürich"}'),
        result="12 degrees, rain",
    )
    answer = seen(client, after, send(http, client, model(upstream), after))
    assert (answer.text, answer.finish) == ("Rain.", "stop")
    got = upstream.got(backend.wait_request(2))
    assert got.called == [("weather", {"city": "Zürich"})]
    assert got.results == ["12 degrees, rain"]
    assert got.ids_match


@cells
@surfaces
@shapes
def test_reasoning(
    client: Client, upstream: Upstream, stream: bool, http: httpx.Client, backend: ScriptedBackend
) -> None:
    """Apart from the text, and back in the history of the next turn where it belongs to a call."""
    backend.queue(upstream.thinks("Let me see.", "It is 4."), upstream.says("done"))
    ask = Ask("What is 2+2?", stream=stream, tools=client.converses)
    answer = seen(client, ask, send(http, client, model(upstream), ask))
    assert (answer.reasoning, answer.text, answer.finish) == ("Let me see.", "It is 4.", "stop")
    if not client.converses:
        return
    after = Ask(
        "What is 2+2?", tools=True, call=("call_1", "{}"), result="4", thought=answer.thought
    )
    seen(client, after, send(http, client, model(upstream), after))
    got = upstream.got(backend.wait_request(2))
    # Who signs its reasoning takes none back without the signature.
    goes_back = client.signs or upstream.signature is None
    assert got.reasoning == ("Let me see." if goes_back else "")
    assert got.signature in (None, upstream.signature)


@pytest.mark.parametrize("upstream", [OpenAILike()], ids=["openai_chat"])
@surfaces
@shapes
def test_a_refusal(
    client: Client, upstream: Upstream, stream: bool, http: httpx.Client, backend: ScriptedBackend
) -> None:
    """One wire of the upstreams has a word for it; each surface its own, or it is text."""
    backend.queue(chat([], refusal=["I cannot", " do that."]))
    ask = Ask("Do harm.", stream=stream)
    answer = seen(client, ask, send(http, client, model(upstream), ask))
    told = {
        "anthropic_messages": ("", "I cannot do that.", "content_filter"),
        "ollama": ("", "I cannot do that.", "stop"),
        "ollama_generate": ("", "I cannot do that.", "stop"),
    }
    own = ("I cannot do that.", "", "stop")
    assert (answer.refusal, answer.text, answer.finish) == told.get(client.surface, own)


@cells
@surfaces
@shapes
def test_an_image(
    client: Client, upstream: Upstream, stream: bool, http: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(upstream.says("A pixel."))
    ask = Ask("What is this?", stream=stream, image=True)
    assert seen(client, ask, send(http, client, model(upstream), ask)).text == "A pixel."
    got = upstream.got(backend.wait_request())
    assert got.images == [("image/png" if upstream.names_media else "", PIXEL)]
    assert ("user", "What is this?") in got.texts


@cells
@surfaces
@shapes
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_an_error_before_the_first_byte(
    client: Client,
    upstream: Upstream,
    stream: bool,
    status: int,
    http: httpx.Client,
    backend: ScriptedBackend,
) -> None:
    """The upstream's own status and words, in the client's own shape."""
    backend.queue(upstream.refuses(status, "the server is not in the mood"))
    response = send(http, client, model(upstream), Ask(stream=stream))
    assert response.status_code == status
    kind, message = client.error(response.content)
    assert kind == client.error_kind(status)
    assert "the server is not in the mood" in message
    if status > 400:
        assert response.headers["x-should-retry"] == ("true" if status in (429, 503) else "false")


@cells
@surfaces
def test_an_error_after_the_first_byte(
    client: Client,
    upstream: Upstream,
    http: httpx.Client,
    backend: ScriptedBackend,
    gateway: GatewayProcess,
) -> None:
    """In band, after the text that was there, and the record says that it failed."""
    backend.queue(upstream.breaks("Hello", " there", message="out of memory"))
    ask = Ask(stream=True)
    response = send(http, client, model(upstream), ask)
    answer = seen(client, ask, response)
    assert answer.text == "Hello there"
    assert answer.error is not None
    assert "out of memory" in answer.error["message"]
    trace_id = response.headers["x-request-id"]
    record = wait_spooled(gateway.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["status"], record["answer"]) == ("failed", "Hello there")


@cells
@surfaces
@shapes
def test_a_hang_up(
    client: Client, upstream: Upstream, stream: bool, http: httpx.Client, backend: ScriptedBackend
) -> None:
    """The upstream request ends with the client's."""
    backend.queue(upstream.stalls("Hello"))
    body = json.dumps(client.body(model(upstream), Ask(stream=stream))).encode()
    head = f"POST {client.path} HTTP/1.1\r\nhost: {http.base_url.netloc.decode()}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    address = (http.base_url.host, http.base_url.port)
    with socket.create_connection(address, timeout=60) as leaving:
        leaving.sendall(head.encode() + body)
        request = backend.wait_request()
        heard = b""
        while stream and b"Hello" not in heard:
            piece = leaving.recv(65536)
            assert piece, "the gateway left first"
            heard += piece
    assert backend.wait_hang_up() is request


def test_the_table_is_whole() -> None:
    dialects = {kind.dialect for kind in BACKENDS.values()}  # type: ignore[attr-defined]
    assert {upstream.dialect for upstream in UPSTREAMS} == dialects
    names = {surface.name for surface in SURFACES} - CONTINUATIONS
    assert {client.surface for client in CLIENTS} == names
