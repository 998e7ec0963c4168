"""`POST /v1/rerank` from a client to its rows: real gateway, real inference role, real tables."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.transport import rerank as rerank_paths
from tests.e2e.asking import error_of
from tests.fakes.colbert_model import colbert_folder
from tests.fakes.embedding_model import built_model
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.inference_role import Role, running
from tests.fakes.pipeline import Pipeline
from tests.fakes.ports import free_port
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

__all__ = ["built_model"]

FUSION, COLBERT = "bm25+all-minilm-l6-v2", "tiny-colbert"
QUERY = "where is the bicycle"
DOCUMENTS: list[Any] = [
    "the sea is blue",
    {"text": "the bicycle is in the shed", "id": "shed.md"},
    "taxes are due in april",
]


@pytest.fixture(scope="module")
def role(built_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    folder = tmp_path_factory.mktemp("role")
    colbert = colbert_folder(folder / "colbert")
    with running(folder, built_model, f'colbert_dir = "{colbert}"\n') as started:
        yield started


@pytest.fixture(scope="module")
def pipeline(
    role: Role,
    backend: ScriptedBackend,
    postgres_cluster: Cluster,
    migrated: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pipeline]:
    dsn = postgres_cluster.create_database(migrated)
    folder = tmp_path_factory.mktemp("rerank")
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    tables = f'[inference]\nurl = "{role.url}"\n[rerank]\nmax_documents = 20\n'
    try:
        with Pipeline(folder, backend.base_url, server, dsn, tables=tables) as ready:
            yield ready
    finally:
        server.kill()


def rerank(pipeline: Pipeline, path: str = "/v1/rerank", **fields: Any) -> httpx.Response:
    return pipeline.post({"query": QUERY, "documents": DOCUMENTS} | fields, path)


@pytest.mark.parametrize("path", rerank_paths.ROUTES)
def test_the_answer_has_what_clients_of_cohere_and_jina_read(pipeline: Pipeline, path: str) -> None:
    answer = rerank(pipeline, path, model=FUSION, top_n=2, return_documents=True, max_chunks=3)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"id", "object", "model", "results", "usage", "meta"}
    assert body["id"] == answer.headers["x-request-id"]
    assert body["model"] == answer.headers["x-selected-model"] == FUSION
    assert len(body["results"]) == 2
    best = body["results"][0]
    assert (best["index"], best["document"]) == (1, DOCUMENTS[1])
    assert 0 < body["results"][1]["relevance_score"] < best["relevance_score"] < 1
    assert body["usage"]["total_tokens"] == body["meta"]["tokens"]["input_tokens"] > 10
    assert body["meta"]["api_version"]["version"] == ("2" if path == "/v2/rerank" else "1")
    assert answer.headers["x-dropped"] == "max_chunks"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("", COLBERT), ("rerank-v3.5", COLBERT), ("colbert", COLBERT), (FUSION, FUSION)],
)
def test_the_answer_names_what_scored(pipeline: Pipeline, asked: str, answered: str) -> None:
    body = rerank(pipeline, model=asked).json()
    assert body["model"] == answered
    assert sorted(row["index"] for row in body["results"]) == [0, 1, 2]


def test_every_score_becomes_a_row_and_trace_tells_it(pipeline: Pipeline) -> None:
    answer = rerank(pipeline, model="rerank-v3.5", top_n=1, x_project="atlas")
    trace_id = answer.headers["x-request-id"]
    pipeline.until(lambda: bool(pipeline.of("rerank_scores", trace_id)), pipeline.letters)
    found = sorted(pipeline.of("rerank_scores", trace_id), key=lambda row: row["rank"])
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert found[0]["score"] == answer.json()["results"][0]["relevance_score"]
    assert {row["document_index"] for row in found} == {0, 1, 2}
    assert {(row["model"], row["query"], row["project"]) for row in found} == {
        (COLBERT, QUERY, "atlas")
    }
    shed = next(row for row in found if row["document_index"] == 1)
    digest = sha256(b"the bicycle is in the shed").hexdigest()
    assert (shed["document_name"], shed["document_hash"]) == ("shed.md", digest)
    pipeline.until(lambda: bool(pipeline.of("flow_lineage", trace_id)), pipeline.letters)
    kinds = [row["kind"] for row in pipeline.of("flow_lineage", trace_id)]
    assert kinds == ["request", "rerank", "answer"]
    told = pipeline.command("trace", trace_id)
    assert told.returncode == 0, told.stderr
    assert f"3 documents by {COLBERT}" in told.stdout
    assert "rerank_scores 3" in told.stdout


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"documents": []}, 400, "documents"),
        ({"documents": ["a", {"no": "text"}]}, 400, "documents"),
        ({"documents": ["a"] * 21}, 400, "documents"),
        ({"query": ""}, 400, "query"),
        ({"top_n": 0}, 400, "top_n"),
        ({"model": "bge-reranker-v2-m3"}, 404, "model"),
    ],
)
def test_what_is_wrong_is_said_in_the_callers_words(
    pipeline: Pipeline, fields: dict[str, Any], status: int, param: str
) -> None:
    answer = rerank(pipeline, **fields)
    assert error_of(answer, status)["param"] == param


def test_more_than_the_role_takes_is_413(pipeline: Pipeline) -> None:
    answer = rerank(pipeline, documents=["x" * 1024 * 1024] * 9)
    error = error_of(answer, 413)
    assert (error["code"], error["param"]) == ("request_too_large", "documents")
    # The gateway's own words: nothing was sent to the role.
    assert "bytes for the inference role, which takes" in error["message"]


def test_without_the_role_it_is_503_and_recorded(backend: ScriptedBackend, tmp_path: Path) -> None:
    config = backend_config(backend.base_url)
    config += f'[inference]\nurl = "http://127.0.0.1:{free_port()}"\n'
    with GatewayProcess(tmp_path, config) as gateway:
        body = {"query": QUERY, "documents": DOCUMENTS}
        answer = httpx.post(f"{gateway.url}/v1/rerank", json=body, timeout=60)
        assert error_of(answer, 503)["code"] == "inference_unavailable"
        metrics = httpx.get(f"{gateway.url}/metrics").text
    counted = [line for line in metrics.splitlines() if 'name="rerank"' in line]
    assert any("appliance_exchanges_total" in line and "failed" in line for line in counted)
