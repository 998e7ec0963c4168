"""`[privacy] store` from the request to every byte that is left of it: spool, streams, database,
logs, metrics."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.domain.vectorstore.ports import NewChunk
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import PgVectorStore
from tests.e2e.asking import CHAT, question
from tests.fakes.answers import chat, completion, openai_error, reply, sse
from tests.fakes.embedder import WordEmbedder
from tests.fakes.inference import ScriptedInference
from tests.fakes.pipeline import Pipeline
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

# What a person, a model, a tool or a document said; each word is said at one place alone.
SAID = "xylophone-"
# Names, which `metadata` keeps and measures have: models, tools, ids of calls.
NAMED = "glockenspiel-"
HEADERS = {
    "authorization": f"Bearer {SAID}bearer",
    "cookie": f"{SAID}cookie",
    "user-agent": f"{SAID}agent",
    "x-made-up": f"{SAID}header",
}


@pytest.fixture(params=["metadata", "none"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def library(dsn: str) -> str:
    """A database with one document, whose words and name are secrets too."""
    text = f"the gateway port, {SAID}document"
    vectors = (await WordEmbedder().embed([text])).vectors
    async with PostgresPool(dsn) as pool:
        await PgVectorStore(pool).replace(
            f"{SAID}file.md",
            workspace="default",
            digest="d",
            size_bytes=1,
            model="words",
            chunks=[NewChunk(0, text, vectors[0])],
        )
    return dsn


@pytest.fixture
def pipeline(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, library: str, store: str
) -> Iterator[Pipeline]:
    backend.forget()
    with ScriptedInference() as inference:
        tables = f'[privacy]\nstore = "{store}"\n[inference]\nurl = "{inference.url}"\n'
        tables += "[knowledge]\nmin_score = 0.1\n"
        folder = tmp_path / "rig"
        with Pipeline(folder, backend.base_url, nats_server, library, tables=tables) as running:
            yield running


def turn_with_everything() -> dict[str, Any]:
    """A request with a secret in every place that takes a text."""
    called = {"name": f"{NAMED}before", "arguments": f'{{"x": "{SAID}arguments"}}'}
    parameters = {"type": "object", "properties": {f"{SAID}property": {"type": "string"}}}
    declared = {"name": f"{NAMED}tool", "description": f"{SAID}tool", "parameters": parameters}
    shape = {"name": "s", "schema": {"type": "object", "description": f"{SAID}schema"}}
    messages = [
        {"role": "system", "content": f"{SAID}system"},
        {"role": "user", "content": f"{SAID}earlier", "name": f"{SAID}person"},
        {
            "role": "assistant",
            "content": f"{SAID}said",
            "tool_calls": [{"id": f"{NAMED}1", "type": "function", "function": called}],
        },
        {"role": "tool", "tool_call_id": f"{NAMED}1", "content": f"{SAID}result"},
        {"role": "user", "content": f"the gateway port {SAID}prompt"},
    ]
    return {
        "model": "scripted",
        "messages": messages,
        "tools": [{"type": "function", "function": declared}],
        "response_format": {"type": "json_schema", "json_schema": shape},
        "stop": [f"{SAID}stop"],
        "user": f"{SAID}user",
        "metadata": {"k": f"{SAID}metadata"},
        f"{SAID}field": f"{SAID}value",
        "seed": 5,
        "x_route": "rag",
    }


def ask_everything(pipeline: Pipeline, backend: ScriptedBackend) -> list[str]:
    """Every kind of exchange there is; the trace ids of what the gateway took for one."""
    text = f"{SAID}prompt"
    call = (f"{NAMED}2", f"{NAMED}called", f'{{"x": "{SAID}made"}}')
    answer = chat(f"{SAID}answer", reasoning=f"{SAID}thought", tool_calls=[call])
    said = f'{{"choices":[{{"index":0,"delta":{{"content":"{SAID}half"}}}}]}}'
    broken = sse(said, f'{{"{SAID}broken')
    refusing = openai_error(400, f"{SAID}refusal of {text}", "invalid_request_error")
    failing = openai_error(500, f"{SAID}failure of {text}", "server_error")
    speaks = reply(200, f"<p>{SAID}html".encode(), "text/html")
    prompt = {"model": "scripted", "prompt": f"{SAID}text", "suffix": f"{SAID}suffix"}
    talk = {
        "model": "scripted",
        "max_tokens": 9,
        "system": f"{SAID}system",
        "messages": [{"role": "user", "content": text}],
        "metadata": {"user_id": f"{SAID}user"},
    }
    backend.queue(answer)
    traces = [post(pipeline, turn_with_everything())]
    backend.queue(refusing, failing, speaks, broken, completion(f"{SAID}text"), answer)
    for streamed in (False, True, False, True):
        traces.append(post(pipeline, question(text, stream=streamed)))
    traces.append(post(pipeline, prompt, "/v1/completions"))
    traces.append(post(pipeline, talk, "/v1/messages"))
    traces.append(post(pipeline, question(text, model=f"{NAMED}nobody")))
    traces.append(post(pipeline, {"input": [f"{SAID}embed"], "user": text}, "/v1/embeddings"))
    backend.queue(refusing)
    traces.append(post(pipeline, {"model": "scripted", "input": f"{SAID}embed"}, "/v1/embeddings"))
    for body in (f'{{"model": "{SAID}', f'{{"messages": "{SAID}"}}'):  # no exchange: no JSON
        httpx.post(pipeline.gateway.url + CHAT, content=body, headers=HEADERS)
    post(pipeline, {**talk, "messages": [{"role": "user", "content": text}]}, COUNT)
    return traces


COUNT = "/v1/messages/count_tokens"


def post(pipeline: Pipeline, body: dict[str, Any], path: str = CHAT) -> str:
    """The trace id, whatever the answer."""
    url = f"{pipeline.gateway.url}{path}?q={SAID}query"
    response = httpx.post(url, json=body, headers=HEADERS, timeout=60)
    return response.headers["x-request-id"]


def dumped(dsn: str, cluster: Cluster) -> bytes:
    """The database as SQL, without the documents: they are there to be found."""
    words = [str(cluster.postgres.programs / "pg_dump"), "--exclude-table-data=document*", dsn]
    return subprocess.run(words, capture_output=True, check=True, timeout=180).stdout


def test_nothing_anybody_said_is_anywhere_and_names_where_they_are_promised(
    pipeline: Pipeline,
    backend: ScriptedBackend,
    nats_server: NatsServer,
    postgres_cluster: Cluster,
    tmp_path: Path,
    store: str,
) -> None:
    traces = ask_everything(pipeline, backend)
    assert len(set(traces)) == 10
    given = {"trace_id": traces[0], "rating": -5, "comment": f"{SAID}comment"}
    taken = httpx.post(f"{pipeline.gateway.url}/v1/feedback", json=given, headers=HEADERS)
    assert (taken.status_code, taken.json()["stored"]) == (202, store == "metadata")
    kept = "chat_history UNION SELECT trace_id FROM embedding_events"
    wanted = set(traces) if store == "metadata" else set()

    def written() -> set[str]:
        return {row["trace_id"] for row in pipeline.rows(f"SELECT trace_id FROM {kept}")}

    pipeline.until(lambda: written() == wanted, lambda: written() ^ wanted)
    pipeline.until(lambda: pipeline.count("tool_calls") == (2 if wanted else 0))
    pipeline.until(lambda: pipeline.count("feedback", "comment = ''") == (1 if wanted else 0))
    consumer = pipeline.consumer
    assert consumer is not None
    pipeline.until(lambda: not pipeline.ready(consumer.url), lambda: pipeline.ready(consumer.url))
    places = {
        "metrics": httpx.get(f"{pipeline.gateway.url}/metrics").content,
        "ready": httpx.get(f"{pipeline.gateway.url}/ready").content,
        "consumer": httpx.get(f"{consumer.url}/metrics").content,
        "database": dumped(pipeline.dsn, postgres_cluster),
    }
    nats_server.kill()
    pipeline.gateway.stop()  # what is buffered is on the disk then
    files = [*pipeline.folder.rglob("*"), *(tmp_path / "nats").rglob("*")]
    places |= {str(file): file.read_bytes() for file in files if file.is_file()}
    assert {name for name, content in places.items() if SAID.encode() in content} == set()
    named = {name for name, content in places.items() if NAMED.encode() in content}
    assert ("database" in named) is (store == "metadata")
    assert any("PIPELINE" in name for name in named) is (store == "metadata")
    assert any("TELEMETRY" in name for name in named)
    assert {Path(name).suffix for name in named} <= {"", ".blk", ".seg", ".log"}


@pytest.mark.parametrize("store", ["metadata"])
def test_metadata_keeps_counts_roles_names_and_times(
    pipeline: Pipeline, backend: ScriptedBackend, store: str
) -> None:
    call = (f"{NAMED}2", f"{NAMED}called", "{}")
    backend.queue(chat("answer", tool_calls=[call], prompt_tokens=77))
    trace_id = pipeline.ask(turn_with_everything())
    row = pipeline.wait_row(trace_id)
    roles = [each["role"] for each in pipeline.of("chat_history", trace_id)]
    assert roles == ["system", "user", "assistant", "tool", "user", "assistant"]
    detail = row["detail"]
    assert (detail["input_tokens"], detail["params"]) == (77, {"seed": 5})
    assert detail["duration_s"] > 0
    assert [hit["score"] > 0 for hit in detail["retrieval"]["hits"]] == [True]
    pipeline.until(lambda: pipeline.count("tool_calls") + pipeline.count("tool_results") == 2)
    (called,) = pipeline.of("tool_calls", trace_id)
    assert (called["name"], called["arguments"]) == (f"{NAMED}called", "")
    kinds = {node["kind"] for node in pipeline.of("flow_lineage", trace_id)}
    assert {"request", "embedding", "retrieve", "compose", "llm", "tool", "answer"} <= kinds
