"""The main job on one real appliance: PostgreSQL, NATS, llama.cpp, inference, consumer, gateway.

The openai SDK is used as it comes; what it gets is checked against what the appliance kept.
"""

import base64
import json
import math
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psycopg
import pytest

from tests.fakes.appliance import Appliance
from tests.fakes.gateway import GatewayProcess
from tests.fakes.until import WAIT_S

MODEL = "smollm2-135m-instruct"
FACT = "The lighthouse of Ormel was painted green in 1931 by Ada Quill, who was paid in herring."


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("main")) as running:
        yield running


@pytest.fixture(scope="module")
def library(appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of documents, ingested."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "places").mkdir()
    (folder / "places" / "ormel.md").write_text(f"# Ormel\n\n{FACT}\n")
    (folder / "bread.txt").write_text("Rye bread rises slowly and wants a hot oven and patience.\n")
    done = appliance.command("ingest", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def sdk(appliance: Appliance) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{appliance.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def rows(appliance: Appliance, sql: str, *values: Any, least: int = 1) -> list[Any]:
    """What the database answers once it answers at least `least` rows, or after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    with psycopg.connect(appliance.ready["postgres"]) as connection:
        while True:
            found = connection.execute(sql, values).fetchall()  # type: ignore[arg-type]
            connection.rollback()
            if len(found) >= least or time.monotonic() > deadline:
                return found
            time.sleep(0.05)


def test_the_ready_file_names_every_part_and_is_private(appliance: Appliance) -> None:
    ready = appliance.ready
    parts = {"gateway", "inference", "consumer", "nats", "postgres", "llm"}
    assert parts <= set(ready["pids"])
    assert ready["gateway"] == appliance.url
    assert ready["dagster"] is None
    assert appliance._ready_file.stat().st_mode & 0o777 == 0o600
    report = httpx.get(f"{appliance.url}/ready").json()
    assert report["status"] == "ready", report


def test_sdk_chat(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model=MODEL, messages=ask("Say hello."), max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert answer.model == MODEL


def test_sdk_stream(sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(
            model=MODEL,
            messages=ask("Count to three."),
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens > 0
    with sdk.chat.completions.stream(model=MODEL, messages=ask("Hi."), max_tokens=8) as stream:
        kinds = {event.type for event in stream}
        assert {"chunk", "content.delta", "content.done"} <= kinds
        assert stream.current_completion_snapshot.choices[0].message.content


def test_sdk_models(sdk: openai.OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert MODEL in names
    assert not [name for name in names if "*" in name or name.startswith("/") or ".gguf" in name]
    assert sdk.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("nothing")


def test_sdk_embeddings(sdk: openai.OpenAI) -> None:
    texts = ["a green lighthouse", "a lighthouse painted green", "rye bread"]
    answer = sdk.embeddings.create(model="all-minilm-l6-v2", input=texts)
    vectors = [row.embedding for row in answer.data]
    assert [len(v) for v in vectors] == [256] * 3
    assert all(math.isclose(math.hypot(*v), 1.0, abs_tol=1e-4) for v in vectors)
    near, far = (sum(map(lambda a, b: a * b, vectors[0], v)) for v in vectors[1:])
    assert near > far + 0.2
    assert answer.usage.prompt_tokens > 5
    short = sdk.embeddings.create(model="all-minilm-l6-v2", input=texts[0], dimensions=64)
    assert len(short.data[0].embedding) == 64
    assert math.isclose(math.hypot(*short.data[0].embedding), 1.0, abs_tol=1e-4)
    with pytest.raises(openai.BadRequestError):
        sdk.embeddings.create(model="all-minilm-l6-v2", input=texts[0], dimensions=257)
    with pytest.raises(openai.BadRequestError) as long:
        sdk.embeddings.create(model="all-minilm-l6-v2", input="word " * 3000)
    assert long.value.code == "context_length_exceeded"


def test_base64_embeddings_are_the_floats(appliance: Appliance) -> None:
    ask_for = {"model": "all-minilm-l6-v2", "input": "one text"}
    url = f"{appliance.url}/v1/embeddings"
    floats = httpx.post(url, json=ask_for).json()["data"][0]["embedding"]
    coded = httpx.post(url, json=ask_for | {"encoding_format": "base64"}).json()
    decoded = struct.unpack("<256f", base64.b64decode(coded["data"][0]["embedding"]))
    assert max(abs(a - b) for a, b in zip(floats, decoded, strict=True)) < 1e-6


def test_a_prompt_beyond_the_context_is_a_400(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=MODEL, messages=ask("word " * 20_000))
    assert refused.value.code == "context_length_exceeded"


def test_search_finds_the_document(appliance: Appliance, library: Path) -> None:
    done = appliance.command("search", "who painted the lighthouse?", "--json")
    found = json.loads(done.stdout)
    assert found[0]["document"] == "places/ormel.md"
    assert "Ada Quill" in json.dumps(found[0])


def test_rag_names_its_sources_in_body_stream_and_header(sdk: openai.OpenAI, library: Path) -> None:
    question = "Who painted the lighthouse of Ormel, and in which colour?"
    raw = sdk.chat.completions.with_raw_response.create(
        model=MODEL, messages=ask(question), max_tokens=40, extra_body={"x_route": "rag"}
    )
    answer = raw.parse()
    sources = answer.model_extra["x_sources"]  # type: ignore[index]
    assert sources[0]["document"] == "places/ormel.md"
    assert set(sources[0]) == {"document", "chunk", "score"}
    assert [s["score"] for s in sources] == sorted((s["score"] for s in sources), reverse=True)
    assert raw.headers["x-rag-sources"].startswith("places/ormel.md#0;")
    assert raw.headers["x-rag"] == str(len(sources))
    assert raw.headers["x-served-route"] == "rag"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 60, "the chunk is in the prompt"
    chunks = list(
        sdk.chat.completions.create(
            model=MODEL,
            messages=ask(question),
            max_tokens=10,
            stream=True,
            extra_headers={"x-route": "rag"},
        )
    )
    assert chunks[-1].model_extra["x_sources"][0]["document"] == "places/ormel.md"  # type: ignore[index]
    assert not any("x_sources" in (c.model_extra or {}) for c in chunks[:-1])


def test_a_second_gateway_joins_and_makes_knowledge_transparent(
    appliance: Appliance, library: Path, tmp_path: Path
) -> None:
    config = f"""
[[models]]
match = "librarian"
backend = "embedded"
upstream_model = "{MODEL}"
route = "rag"
"""
    body = {"model": "librarian", "messages": ask("Who painted the lighthouse of Ormel?")}
    with GatewayProcess(tmp_path, config, "--state", str(appliance.state)) as second:
        once, streamed = (
            httpx.post(f"{second.url}/v1/chat/completions", json=body | more, timeout=60)
            for more in ({"max_tokens": 5}, {"max_tokens": 5, "stream": True})
        )
    assert once.status_code == 200, once.text
    assert once.headers["x-served-route"] == "rag"
    assert once.headers["x-rag-sources"].startswith("places/ormel.md#0;")
    assert "x_sources" not in once.text + streamed.text
    assert once.json()["model"] == "librarian"
    trace_id = once.headers["x-request-id"]
    kept = rows(appliance, "SELECT route FROM chat_pairs WHERE trace_id = %s", trace_id)
    assert kept == [("rag",)]


def test_rag_in_a_workspace_without_documents_answers_without(
    sdk: openai.OpenAI, library: Path
) -> None:
    body = {"x_route": "rag", "x_workspace": "empty"}
    raw = sdk.chat.completions.with_raw_response.create(
        model=MODEL, messages=ask("Who painted it?"), max_tokens=5, extra_body=body
    )
    assert raw.headers["x-rag"] == "0"
    assert raw.parse().model_extra["x_sources"] == []  # type: ignore[index]


def test_an_exchange_becomes_rows_and_a_trace(appliance: Appliance, sdk: openai.OpenAI) -> None:
    raw = sdk.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=ask("Remember this one."),
        max_tokens=8,
        extra_headers={"X-Correlation-ID": "thread:kept/1"},
    )
    trace_id = raw.headers["x-request-id"]
    pair = rows(
        appliance,
        "SELECT correlation_id, prompt, response, model FROM chat_pairs WHERE trace_id = %s",
        trace_id,
    )
    content = raw.parse().choices[0].message.content
    assert [row[:3] for row in pair] == [("thread:kept/1", "Remember this one.", content)]
    history = rows(appliance, "SELECT role FROM chat_history WHERE trace_id = %s", trace_id)
    assert sorted(row[0] for row in history) == ["assistant", "user"]
    for name in (trace_id, "thread:kept/1"):
        shown = appliance.command("trace", name)
        assert shown.returncode == 0, shown.stderr
        for word in (trace_id, MODEL, "embedded", "pipeline.knowledge.chat.persist", "chat_pairs"):
            assert word in shown.stdout, shown.stdout
    assert appliance.command("trace", "no-such-id").returncode == 1


def test_a_failed_and_a_cancelled_exchange_are_in_the_history_only(
    appliance: Appliance, sdk: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=MODEL, messages=ask("far too long " * 20_000))
    failed = refused.value.response.headers["x-request-id"]
    stream = sdk.chat.completions.create(
        model=MODEL, messages=ask("Tell a long story."), stream=True, max_tokens=400
    )
    next(iter(stream))
    cancelled = stream.response.headers["x-request-id"]
    stream.close()
    for trace_id in (failed, cancelled):
        assert rows(appliance, "SELECT 1 FROM chat_history WHERE trace_id = %s", trace_id)
        assert (
            rows(appliance, "SELECT 1 FROM chat_pairs WHERE trace_id = %s", trace_id, least=0) == []
        )


def test_documents_and_keys_take_the_state_before_and_after_the_action(
    appliance: Appliance, library: Path
) -> None:
    state = str(appliance.state)
    for words in (
        ("documents", "list"),
        ("documents", "list", "--state", state),
        ("keys", "list"),
        ("keys", "list", "--state", state),
    ):
        done = appliance.command(*words)
        assert done.returncode == 0, done.stderr
        assert ("places/ormel.md" in done.stdout) == (words[0] == "documents")


def test_ask_answers_on_the_terminal(appliance: Appliance, library: Path) -> None:
    done = appliance.command("ask", "Who painted the lighthouse of Ormel?", "--route", "rag")
    assert done.returncode == 0, done.stderr
    assert "places/ormel.md" in done.stdout + done.stderr


def test_status_check_and_doctor_say_that_all_is_well(appliance: Appliance) -> None:
    for command in (("status",), ("doctor",)):
        done = appliance.command(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "postgres" in done.stdout
