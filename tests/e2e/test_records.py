"""What a real gateway keeps of each exchange, read from its spool."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from appliance.domain.vectorstore.ports import NewChunk
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import PgVectorStore
from tests.cross.clients import CLIENTS, Ask, Client, seen, send
from tests.cross.upstreams import UPSTREAMS, Upstream
from tests.e2e.asking import CHAT, question
from tests.fakes.actions import Behaviour, Stall, after_chunks, before_headers, paced
from tests.fakes.answers import chat, openai_error, reply_json, sse
from tests.fakes.anthropic_answers import messages
from tests.fakes.embedder import WordEmbedder
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.inference import ScriptedInference
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import wait_spooled
from tests.fakes.until import WAIT_S

SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
UPSTREAM = pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda u: u.dialect)
SURFACE = pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.surface)
WITH_TURNS = pytest.mark.parametrize(
    "client", [client for client in CLIENTS if client.converses], ids=lambda c: c.surface
)
LIMITS = "[gateway]\nfirst_token_timeout_s = 2.0\ntotal_timeout_s = 3.0\nheader_hold_s = 0.3\n"
SPARE = '[[models]]\nmatch = "with-spare"\nbackend = "up-openai_chat"\nfallback = ["spare"]\n'
USAGE = {
    "prompt_tokens": 70,
    "completion_tokens": 20,
    "total_tokens": 90,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 15},
}


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, ScriptedBackend]]:
    running = {name: ScriptedBackend() for name in (*(u.dialect for u in UPSTREAMS), "spare")}
    for backend in running.values():
        backend.start()
    yield running
    for backend in running.values():
        backend.stop()


@pytest.fixture(scope="module")
def gateway(
    backends: dict[str, ScriptedBackend], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    tables = [backend_config(backends["spare"].base_url, name="spare"), SPARE]
    tables += [u.config(backends[u.dialect].url) for u in UPSTREAMS]
    with GatewayProcess(tmp_path_factory.mktemp("records"), "\n".join(tables)) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(
    backends: dict[str, ScriptedBackend], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One with little patience, before the backend `openai_chat` alone."""
    config = LIMITS + backend_config(backends["openai_chat"].base_url, name="up")
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), config) as running:
        yield running


@pytest.fixture
def http(gateway: GatewayProcess, backends: dict[str, ScriptedBackend]) -> Iterator[httpx.Client]:
    for backend in backends.values():
        backend.forget()
    with httpx.Client(base_url=gateway.url, timeout=WAIT_S) as ready:
        yield ready


def record_of(gateway: GatewayProcess, response: httpx.Response) -> dict[str, Any]:
    trace_id = response.headers["x-request-id"]
    return wait_spooled(gateway.spool, lambda record: record["trace_id"] == trace_id)


def outcomes(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(tried["backend"], tried["outcome"]) for tried in record["attempts"]]


def detailed() -> Behaviour:
    """Thoughts, a text, and a usage with every detail; once and streamed."""
    message = {"role": "assistant", "content": "8080", "reasoning_content": "let me see"}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
    answer: dict[str, Any] = {"model": "m", "choices": [choice], "usage": USAGE}
    whole = reply_json(200, answer)
    steps: list[dict[str, Any]] = [
        {"role": "assistant", "reasoning_content": "let me "},
        {"reasoning_content": "see"},
        {"content": "8080"},
    ]
    choices: list[Any] = [{"index": 0, "delta": step, "finish_reason": None} for step in steps]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks: list[Any] = [{"choices": [one]} for one in choices]
    chunks.append({"choices": [], "usage": USAGE})
    streamed = sse(*map(json.dumps, chunks))
    return lambda received: (streamed if received.stream else whole)(received)


@SHAPES
def test_thoughts_and_every_count_of_tokens(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    stream: bool,
) -> None:
    backends["openai_chat"].queue(detailed())
    body = question("Which port?", model="on-openai_chat", stream=stream)
    record = record_of(gateway, http.post(CHAT, json=body))
    assert (record["status"], record["reasoning"], record["answer"]) == (
        "finished",
        "let me see",
        "8080",
    )
    assert (record["input_tokens"], record["output_tokens"]) == (70, 20)
    assert (record["cache_read_tokens"], record["cache_write_tokens"]) == (40, 5)
    assert record["reasoning_tokens"] == 15
    assert (record["candidates"], record["message_count"]) == (["up-openai_chat"], 1)


@SHAPES
def test_what_anthropic_counts_of_its_cache(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    stream: bool,
) -> None:
    backends["anthropic_messages"].queue(messages("8080", cache_read=40, cache_write=20))
    body = question(model="on-anthropic_messages", stream=stream)
    record = record_of(gateway, http.post(CHAT, json=body))
    assert (record["input_tokens"], record["output_tokens"]) == (67, 1)
    assert (record["cache_read_tokens"], record["cache_write_tokens"]) == (40, 20)


@UPSTREAM
@SURFACE
@SHAPES
def test_the_thoughts_of_every_dialect(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    client: Client,
    upstream: Upstream,
    stream: bool,
) -> None:
    backends[upstream.dialect].queue(upstream.thinks("let me see", "8080"))
    response = send(http, client, f"on-{upstream.dialect}", Ask(stream=stream))
    record = record_of(gateway, response)
    assert (record["reasoning"], record["answer"]) == ("let me see", "8080")
    assert record["surface"] == client.surface


@UPSTREAM
@WITH_TURNS
@SHAPES
def test_a_call_and_its_result_with_the_next_turn_and_with_no_later_one(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    client: Client,
    upstream: Upstream,
    stream: bool,
) -> None:
    arguments = {"city": "Zürich"}
    backends[upstream.dialect].queue(
        upstream.calls("weather", arguments), upstream.says("Rain."), upstream.says("Sure.")
    )
    model, asked = f"on-{upstream.dialect}", Ask(stream=stream, tools=True)
    response = send(http, client, model, asked)
    ((call_id, name, _),) = seen(client, asked, response).calls
    first = record_of(gateway, response)
    (call,) = first["tool_calls"]
    assert (call["id"], call["function"]["name"]) == (call_id, name)
    assert json.loads(call["function"]["arguments"]) == arguments
    assert (first["tool_results"], first["finish_reason"]) == ([], "tool_calls")

    told = Ask(
        stream=stream,
        tools=True,
        call=(call_id, json.dumps(arguments)),
        result="12 degrees, rain",
    )
    second = record_of(gateway, send(http, client, model, told))
    (result,) = second["tool_results"]
    assert json.loads(result.pop("arguments")) == arguments
    assert result == {
        "call_id": call_id,
        "name": "weather",
        "content": "12 degrees, rain",
        "is_error": False,
    }
    assert (second["answer"], second["tool_calls"]) == ("Rain.", [])

    after = replace(told, later=(("assistant", "Rain."), ("user", "Sure?")))
    third = record_of(gateway, send(http, client, model, after))
    assert (third["answer"], third["tool_results"]) == ("Sure.", [])


@SHAPES
def test_a_fallback_has_each_try_in_its_time(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    stream: bool,
) -> None:
    backends["openai_chat"].queue(openai_error(500, "fell over", "server_error"))
    backends["spare"].queue(chat("from the spare"))
    record = record_of(gateway, http.post(CHAT, json=question(model="with-spare", stream=stream)))
    assert (record["answer"], record["backend"]) == ("from the spare", "spare")
    assert record["candidates"] == ["up-openai_chat", "spare"]
    assert outcomes(record) == [("up-openai_chat", "BackendRefused 500"), ("spare", "ok")]
    first, second = record["attempts"]
    assert 0 < first["began_s"] < first["began_s"] + first["duration_s"] <= second["began_s"]
    assert second["began_s"] + second["duration_s"] <= record["duration_s"]


@SHAPES
def test_a_failed_exchange_has_its_plan_and_its_try(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    stream: bool,
) -> None:
    backends["openai_chat"].queue(openai_error(400, "no such field", "invalid_request_error"))
    response = http.post(CHAT, json=question(model="on-openai_chat", stream=stream))
    record = record_of(gateway, response)
    assert (record["status"], record["http_status"]) == ("failed", response.status_code)
    assert (record["selected_model"], record["candidates"]) == (
        "on-openai_chat",
        ["up-openai_chat"],
    )
    assert outcomes(record) == [("up-openai_chat", "BackendRefused 400")]


def test_an_exchange_that_names_no_model_we_know_has_what_the_client_said(
    http: httpx.Client, gateway: GatewayProcess
) -> None:
    record = record_of(gateway, http.post(CHAT, json=question("Hi", model="nobody")))
    assert (record["status"], record["request_model"]) == ("failed", "nobody")
    assert record["messages"] == [{"role": "user", "content": "Hi"}]
    assert (record["candidates"], record["attempts"], record["message_count"]) == ([], [], 0)


@SHAPES
def test_a_try_that_ran_into_the_limit_is_there(
    hasty: GatewayProcess, backends: dict[str, ScriptedBackend], stream: bool
) -> None:
    backends["openai_chat"].queue(before_headers(Stall(), chat()))
    response = httpx.post(hasty.url + CHAT, json=question(stream=stream), timeout=WAIT_S)
    record = record_of(hasty, response)
    assert (record["status"], record["error_type"]) == ("failed", "BackendTimeout")
    assert outcomes(record) == [("up", "BackendTimeout")]
    assert 0.2 < record["attempts"][0]["duration_s"] <= record["duration_s"]


def test_a_stream_that_breaks_off_has_what_came_before(
    hasty: GatewayProcess, backends: dict[str, ScriptedBackend]
) -> None:
    # The role, a thought and two words come; then it is silent until the limit.
    said = after_chunks(4, Stall(), chat(["one ", "two ", "three"], reasoning=["hm"]))
    backends["openai_chat"].queue(said)
    response = httpx.post(hasty.url + CHAT, json=question(stream=True), timeout=WAIT_S)
    record = record_of(hasty, response)
    assert (record["status"], record["http_status"]) == ("failed", 200)
    assert (record["reasoning"], record["answer"]) == ("hm", "one two ")
    assert outcomes(record) == [("up", "BackendTimeout")]


@UPSTREAM
@SURFACE
def test_a_client_that_leaves_in_the_middle_leaves_what_it_was_told(
    http: httpx.Client,
    gateway: GatewayProcess,
    backends: dict[str, ScriptedBackend],
    client: Client,
    upstream: Upstream,
) -> None:
    words = [f"word{n} " for n in range(1000)]
    backends[upstream.dialect].queue(paced(upstream.says(*words), 0.02))
    body = client.body(f"on-{upstream.dialect}", Ask(stream=True))
    with http.stream("POST", client.path, json=body) as response:
        for line in response.iter_lines():
            if "word3" in line:
                break
    record = record_of(gateway, response)
    assert (record["status"], record["finish_reason"]) == ("cancelled", None)
    assert record["answer"].startswith("word0 word1 word2 word3 ")
    assert record["answer"] in "".join(words)
    assert outcomes(record) == [(f"up-{upstream.dialect}", "cancelled")]
    assert record["candidates"] == [f"up-{upstream.dialect}"]
    assert record["attempts"][0]["duration_s"] >= 0.02


PORT = "the gateway does use port 8080"
QUERY = "which port does the gateway use"
REMINDER = "<system-reminder>\nNever mention bread.\n</system-reminder>"
DOCUMENTS = {
    "a.md": (PORT,),
    "copy.md": (PORT,),
    "b.md": (f"{QUERY} " * 200, "port of the gateway", "which port", "the moon"),
    "c.md": ("the gateway is small", "the gateway is so small"),
}


async def _fill(dsn: str) -> None:
    async with PostgresPool(dsn) as pool:
        for name, contents in DOCUMENTS.items():
            vectors = (await WordEmbedder().embed(contents)).vectors
            pairs = enumerate(zip(contents, vectors, strict=True))
            chunks = [NewChunk(n, content, vector) for n, (content, vector) in pairs]
            await PgVectorStore(pool).replace(
                name, workspace="default", digest="d", size_bytes=1, model="words", chunks=chunks
            )


@pytest.fixture
def librarian(
    backends: dict[str, ScriptedBackend], dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with an embedding model and documents."""
    asyncio.run(_fill(dsn))
    with ScriptedInference() as inference:
        folder = tmp_path_factory.mktemp("librarian")
        (folder / "dsn").write_text(dsn)
        tables = (
            f'[postgres]\ndsn = "file:{folder / "dsn"}"\n'
            f'[inference]\nurl = "{inference.url}"\n'
            "[knowledge]\nhits = 4\nmin_score = 0.3\ncontext_share = 0.9\n"
            "default_context_window = 1500\n"
        )
        config = backend_config(backends["spare"].base_url) + tables
        with GatewayProcess(folder, config) as running:
            yield running


def test_a_search_has_its_query_its_embedding_and_every_chunk_with_its_reason(
    librarian: GatewayProcess, backends: dict[str, ScriptedBackend]
) -> None:
    for stream in (False, True):
        body = question(f"{REMINDER}\n{QUERY}", stream=stream, x_route="rag")
        response = httpx.post(librarian.url + CHAT, json=body, timeout=WAIT_S)
        record = record_of(librarian, response)
        found = record["retrieval"]
        assert found["query"] == QUERY
        taken, *others = [(hit["document"], hit["chunk"]) for hit in found["hits"]]
        assert others == [("b.md", 1), ("b.md", 2), ("c.md", 0)]
        repeated = ({"a.md", "copy.md"} - {taken[0]}).pop()  # which one is the first is chance
        assert [(cut["document"], cut["chunk"], cut["reason"]) for cut in found["cut"]] == [
            ("b.md", 0, "room"),
            (repeated, 0, "repeated"),
            ("c.md", 1, "limit"),
            ("b.md", 3, "score"),
        ]
        assert all(chunk["tokens"] > 0 for chunk in found["hits"] + found["cut"])
        assert (found["limit"], found["min_score"], found["context_window"]) == (4, 0.3, 1500)
        assert 0 < sum(hit["tokens"] for hit in found["hits"]) <= found["room_tokens"] < 1500
        made = found["embedding"]
        assert (made["purpose"], made["model"], made["texts"]) == ("query", "words", [QUERY])
        assert made["dimensions"] == 256
        assert 0 < found["began_s"] <= made["began_s"]
        assert made["duration_s"] <= found["duration_s"]
        assert found["began_s"] + found["duration_s"] <= record["attempts"][0]["began_s"]
        assert record["message_count"] == len(record["messages"]) + 2
        assert record["messages"][0]["content"] == f"{REMINDER}\n{QUERY}"
        assert response.headers["x-rag"] == "4"
        sources = response.headers["x-rag-sources"]
        assert sources.startswith(f"{taken[0]}#0;0.8333, b.md#1;0.6124, b.md#2;0.5774, c.md#0;")
    asked = backends["spare"].requests[-1].json["messages"]
    assert asked[-1]["content"] == f"{REMINDER}\n{QUERY}"


def test_a_search_without_its_model_names_what_it_asked_and_what_was_missing(
    http: httpx.Client, gateway: GatewayProcess
) -> None:
    body = question(QUERY, model="on-openai_chat", x_route="rag")
    record = record_of(gateway, http.post(CHAT, json=body))
    found = record["retrieval"]
    assert (found["query"], found["degraded"], found["embedding"]) == (QUERY, "inference", None)
    assert (found["hits"], found["cut"], record["message_count"]) == ([], [], 1)
