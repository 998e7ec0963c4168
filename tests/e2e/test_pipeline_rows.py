"""Every field the six subjects promise, from a request to its rows and to its measures."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from appliance.domain.vectorstore.ports import NewChunk
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import PgVectorStore
from tests.cross.clients import CLIENTS, Ask, Client
from tests.e2e.asking import question
from tests.fakes.actions import paced
from tests.fakes.answers import chat, completion, openai_error
from tests.fakes.embedder import WordEmbedder
from tests.fakes.gateway import backend_config
from tests.fakes.inference import ScriptedInference
from tests.fakes.pipeline import Pipeline
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
SURFACE = pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.surface)
WITH_TURNS = pytest.mark.parametrize(
    "client", [client for client in CLIENTS if client.converses], ids=lambda c: c.surface
)
QUERY = "which port does the gateway use"
CHUNKS = ["the gateway does use port 8080", f"{QUERY} " * 200, "which port", "the gateway"]
ARGUMENTS = '{"city": "Zürich"}'


@pytest.fixture(scope="module")
def spare() -> Iterator[ScriptedBackend]:
    with ScriptedBackend(models=["other"]) as running:
        yield running


@pytest.fixture(scope="module")
def pipeline(
    tmp_path_factory: pytest.TempPathFactory,
    backend: ScriptedBackend,
    spare: ScriptedBackend,
    postgres_cluster: Cluster,
    migrated: str,
) -> Iterator[Pipeline]:
    dsn = postgres_cluster.create_database(migrated)
    asyncio.run(filled(dsn))
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    tables = backend_config(spare.base_url, name="spare").partition("[[backends]]")
    more = f'{tables[1]}{tables[2]}[[models]]\nmatch = "with-spare"\nbackend = "scripted"\n'
    more += 'fallback = ["spare"]\n[knowledge]\nhits = 2\nmin_score = 0.3\n'
    more += "context_share = 0.9\ndefault_context_window = 1500\n"
    with ScriptedInference() as inference:
        more += f'[inference]\nurl = "{inference.url}"\n'
        folder = tmp_path_factory.mktemp("rows")
        with Pipeline(folder, backend.base_url, server, dsn, tables=more) as running:
            yield running
    server.kill()


async def filled(dsn: str) -> None:
    vectors = (await WordEmbedder().embed(CHUNKS)).vectors
    pairs = enumerate(zip(CHUNKS, vectors, strict=True))
    chunks = [NewChunk(n, content, vector) for n, (content, vector) in pairs]
    async with PostgresPool(dsn) as pool:
        await PgVectorStore(pool).replace(
            "a.md", workspace="default", digest="d", size_bytes=1, model="words", chunks=chunks
        )


@pytest.fixture(autouse=True)
def fresh(backend: ScriptedBackend, spare: ScriptedBackend) -> None:
    backend.forget()
    spare.forget()


def whole(pipeline: Pipeline, trace_id: str, **counts: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of an exchange by table, once there are so many of each."""
    pipeline.wait_row(trace_id)

    def there() -> dict[str, int]:
        return {table: len(pipeline.of(table, trace_id)) for table in counts}

    pipeline.until(lambda: there() == counts, lambda: (there(), pipeline.letters()))
    return {table: pipeline.of(table, trace_id) for table in (*counts, "flow_lineage")}


def measures(pipeline: Pipeline, trace_id: str, *kinds: str) -> dict[str, dict[str, Any]]:
    """What TELEMETRY has of an exchange, by the first word of its schema: of `kinds` exactly."""

    def found() -> dict[str, dict[str, Any]]:
        told = [m for m in asyncio.run(pipeline.messages("TELEMETRY")) if m["trace_id"] == trace_id]
        return {m["schema"].split("/")[0].split(".")[1]: m for m in told}

    pipeline.until(lambda: set(found()) >= {*kinds, "route"}, lambda: sorted(found()))
    assert set(found()) == {*kinds, "route"}
    return found()


def flow(rows: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    return [(row["node_id"], row["status"], row["parents"]) for row in rows]


@SURFACE
@SHAPES
def test_a_search_is_told_with_its_query_hits_thresholds_and_what_was_cut(
    pipeline: Pipeline, backend: ScriptedBackend, client: Client, stream: bool
) -> None:
    backend.queue(chat(["It is ", "8080."], prompt_tokens=70))
    body = client.body("scripted", Ask(text=QUERY, stream=stream))
    extra = {"x_route": "rag", "x_project": "p1", "x_conversation": "talk"}
    trace_id = pipeline.ask(body | extra, client.path)
    rows = whole(
        pipeline, trace_id, retrieve_events=1, compose_events=1, embedding_events=1, chat_pairs=1
    )
    (looked,), (composed,) = rows["retrieve_events"], rows["compose_events"]
    (made,), (pair,) = rows["embedding_events"], rows["chat_pairs"]
    assert (looked["query"], looked["model"], looked["workspace"]) == (QUERY, "words", "default")
    assert (looked["min_score"], looked["hit_limit"]) == (0.3, 2)
    assert (looked["found_count"], looked["hit_count"]) == (4, 2)
    assert looked["best_score"] == looked["hits"][0]["score"]
    assert looked["duration_s"] > 0
    reasons = {hit["chunk"]: hit["cut"] for hit in looked["hits"]}
    assert sorted(reasons.values()) == ["", "", "limit", "room"]
    assert reasons[1] == "room"
    injected = {hit["chunk"]: "" for hit in composed["injected"]}
    assert injected | {cut["chunk"]: cut["reason"] for cut in composed["cut"]} == reasons
    assert composed["used_tokens"] == sum(hit["tokens"] for hit in composed["injected"]) > 0
    assert composed["used_tokens"] <= composed["room_tokens"] < composed["context_window"] == 1500
    assert composed["messages_after"] == composed["messages_before"] + 2
    assert (made["purpose"], made["texts"], made["dimensions"]) == ("query", [QUERY], 256)
    assert (pair["prompt"], pair["response"], pair["input_tokens"]) == (QUERY, "It is 8080.", 70)
    assert pair["retrieval"]["hits"] == composed["injected"]
    for (row,) in (rows[name] for name in ("retrieve_events", "compose_events", "chat_pairs")):
        assert (row["project"], row["conversation_id"]) == ("p1", "talk")
    assert flow(rows["flow_lineage"]) == [
        ("request", "ok", []),
        ("embedding", "ok", ["request"]),
        ("retrieve", "ok", ["embedding"]),
        ("compose", "ok", ["retrieve"]),
        ("llm:1", "ok", ["compose"]),
        ("answer", "finished", ["llm:1"]),
    ]
    told = measures(pipeline, trace_id, "chat", "retrieve", "embedding")
    assert (told["retrieve"]["hit_count"], told["chat"]["gen_ai.usage.input_tokens"]) == (2, 70)
    assert QUERY not in json.dumps(told)


@WITH_TURNS
@SHAPES
def test_a_call_has_its_result_once_the_next_turn_brings_it(
    pipeline: Pipeline, backend: ScriptedBackend, client: Client, stream: bool
) -> None:
    call_id = f"call_{client.surface}_{stream}"
    backend.queue(chat((), tool_calls=[(call_id, "weather", ARGUMENTS)]), chat("Rain."))
    first = pipeline.ask(client.body("scripted", Ask(stream=stream, tools=True)), client.path)
    (call,) = whole(pipeline, first, tool_calls=1, chat_pairs=1)["tool_calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("weather", json.loads(ARGUMENTS))
    assert (call["call_id"], call["model"], call["backend"]) == (call_id, "scripted", "scripted")
    assert (call["result"], call["result_trace_id"]) == (None, None)
    assert flow(pipeline.of("flow_lineage", first))[-2:] == [
        ("tool:0", "ok", ["llm:1"]),
        ("answer", "finished", ["tool:0"]),
    ]
    (pair,) = pipeline.of("chat_pairs", first)
    assert (pair["response"], pair["finish_reason"]) == ("", "tool_calls")

    told = Ask(stream=stream, tools=True, call=(call_id, ARGUMENTS), result="12 degrees")
    second = pipeline.ask(client.body("scripted", told), client.path)
    rows = whole(pipeline, second, tool_results=1, chat_pairs=1)
    (result,) = rows["tool_results"]
    assert (result["content"], result["is_error"]) == ("12 degrees", False)
    pipeline.until(lambda: pipeline.of("tool_calls", first)[0]["result"] is not None)
    (call,) = pipeline.of("tool_calls", first)
    assert (call["result"], call["result_trace_id"]) == ("12 degrees", second)
    assert ("result:0", "ok", ["request"]) in flow(rows["flow_lineage"])
    assert measures(pipeline, first, "chat", "tool_call")["tool_call"]["called"] == ["weather"]
    assert measures(pipeline, second, "chat", "tool_call")["tool_call"]["result_chars"] == 10


@SHAPES
def test_a_fallback_is_told_with_every_try(
    pipeline: Pipeline, backend: ScriptedBackend, spare: ScriptedBackend, stream: bool
) -> None:
    backend.queue(openai_error(500, "fell over", "server_error"))
    spare.queue(chat("from the spare"))
    trace_id = pipeline.ask(question(model="with-spare", stream=stream))
    rows = whole(pipeline, trace_id, chat_pairs=1)
    assert flow(rows["flow_lineage"])[1:] == [
        ("llm:1", "BackendRefused 500", ["request"]),
        ("llm:2", "ok", ["request"]),
        ("answer", "finished", ["llm:2"]),
    ]
    (pair,) = rows["chat_pairs"]
    assert (pair["backend"], pair["response"]) == ("spare", "from the spare")
    route = measures(pipeline, trace_id, "chat")["route"]
    assert (route["candidates"], route["backend"]) == (["scripted", "spare"], "spare")


@SHAPES
def test_a_failed_exchange_is_history_and_no_pair(
    pipeline: Pipeline, backend: ScriptedBackend, stream: bool
) -> None:
    backend.queue(openai_error(400, "no such field", "invalid_request_error"))
    response = pipeline.post(question("why?", stream=stream))
    trace_id = response.headers["x-request-id"]
    row = pipeline.wait_row(trace_id)
    assert row["status"] == "failed"
    detail = row["detail"]
    assert (detail["http_status"], detail["error_type"]) == (400, "BackendRefused")
    assert "no such field" in detail["error_message"]
    assert [each["role"] for each in pipeline.of("chat_history", trace_id)] == ["user", "assistant"]
    assert not pipeline.of("chat_pairs", trace_id)
    assert flow(pipeline.of("flow_lineage", trace_id))[-1] == ("answer", "failed", ["llm:1"])


@SURFACE
def test_a_cancelled_exchange_has_what_was_said_until_then(
    pipeline: Pipeline, backend: ScriptedBackend, client: Client
) -> None:
    backend.queue(paced(chat([f"word{n} " for n in range(1000)]), 0.02))
    body = client.body("scripted", Ask(stream=True))
    with httpx.stream("POST", pipeline.gateway.url + client.path, json=body) as response:
        for line in response.iter_lines():
            if "word3" in line:
                break
    trace_id = response.headers["x-request-id"]
    row = pipeline.wait_row(trace_id)
    assert (row["status"], row["finish_reason"]) == ("cancelled", None)
    where = "hash = %s AND content LIKE 'word0 word1 word2 word3 %%'"
    assert pipeline.count("message_contents", where, row["content_hash"]) == 1
    assert not pipeline.of("chat_pairs", trace_id)
    assert flow(pipeline.of("flow_lineage", trace_id))[-1] == ("answer", "cancelled", ["llm:1"])


@SHAPES
def test_a_completion_is_an_exchange_like_any_other(
    pipeline: Pipeline, backend: ScriptedBackend, stream: bool
) -> None:
    backend.queue(completion(["once ", "upon"]))
    body = {"model": "scripted", "prompt": "Tell", "stream": stream}
    trace_id = pipeline.ask(body, "/v1/completions")
    row = pipeline.wait_row(trace_id)
    assert row["detail"]["operation"] == "text_completion"
    (pair,) = pipeline.of("chat_pairs", trace_id)
    assert (pair["prompt"], pair["response"]) == ("Tell", "once upon")


def test_embeddings_are_an_event_without_a_chat(pipeline: Pipeline) -> None:
    body = {"input": ["one", "two"], "x_project": "p1"}
    trace_id = pipeline.ask(body, "/v1/embeddings")
    pipeline.until(lambda: bool(pipeline.of("embedding_events", trace_id)), pipeline.letters)
    pipeline.until(lambda: len(pipeline.of("flow_lineage", trace_id)) == 3)
    (row,) = pipeline.of("embedding_events", trace_id)
    assert (row["purpose"], row["texts"], row["input_count"]) == ("request", ["one", "two"], 2)
    assert (row["status"], row["dimensions"], row["project"]) == ("finished", 256, "p1")
    assert not pipeline.of("chat_history", trace_id)
    measures(pipeline, trace_id, "embedding")


def test_a_moderation_is_lineage_and_measures_without_a_chat(pipeline: Pipeline) -> None:
    body = {"input": ["fine", "I will kill you."], "x_project": "p1"}
    trace_id = pipeline.ask(body, "/v1/moderations")
    pipeline.until(lambda: len(pipeline.of("flow_lineage", trace_id)) == 3, pipeline.letters)
    assert sorted(flow(pipeline.of("flow_lineage", trace_id))) == [
        ("answer", "finished", ["moderation"]),
        ("moderation", "ok", ["request"]),
        ("request", "ok", []),
    ]
    assert not pipeline.of("chat_history", trace_id)
    route = measures(pipeline, trace_id)["route"]
    assert (route["gen_ai.operation.name"], route["selected_model"]) == (
        "moderation",
        "lexicon-en-1",
    )
    assert not pipeline.letters()
