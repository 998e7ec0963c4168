"""`/rerank` and `/maxsim` of the inference role as a process: real Granian, real models."""

import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.config.schema import InferenceConfig, RerankConfig
from appliance.domain.errors import PartUnavailable, RequestTooLarge
from appliance.domain.identity import Identity
from appliance.domain.rerank.ports import Reranker
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.rerank import RerankClient
from tests.fakes.colbert_model import by_hand, colbert_folder
from tests.fakes.inference_role import Role, command, running
from tests.fakes.ports import free_port

FUSION = Reranker("bm25+all-minilm-l6-v2", "fusion")
MAXSIM = Reranker("tiny-colbert", "maxsim")
TEXTS = ["the sea is blue", "the bicycle is in the shed", "taxes are due in april"]
LONG = "the bicycle is in the shed " * 400
MORE = "\n[rerank]\nmax_documents = 40\n"


@pytest.fixture(scope="module")
def role(built_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    folder = tmp_path_factory.mktemp("role")
    colbert = colbert_folder(folder / "colbert")
    with running(folder, built_model, f'colbert_dir = "{colbert}"\n{MORE}') as started:
        yield started


def post(role: Role, path: str, body: Any) -> httpx.Response:
    return httpx.post(role.url + path, json=body, timeout=60)


def ranked(role: Role, path: str = "/rerank", **body: Any) -> list[dict[str, Any]]:
    answer = post(role, path, {"query": "where is the bicycle", "texts": TEXTS} | body)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


def test_the_fusion_puts_the_answer_first_and_says_what_it_is(role: Role) -> None:
    answer = post(role, "/rerank", {"query": "Where is my bike?", "texts": [*TEXTS, "a bike"]})
    rows = answer.json()
    assert rows[0]["index"] in (1, 3)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert all(0 < row["score"] < 1 for row in rows)
    assert sorted(row["index"] for row in rows) == [0, 1, 2, 3]
    assert answer.headers["x-model"] == "bm25+all-minilm-l6-v2"
    assert int(answer.headers["x-input-tokens"]) > 20


def test_vectors_find_what_no_word_tells(role: Role) -> None:
    texts = ["Payments to the state must be made each spring.", "The kitten naps on the sofa."]
    rows = ranked(role, query="a sleeping cat", texts=texts)
    assert rows[0]["index"] == 1


def test_raw_scores_are_around_nought_and_texts_come_back_where_they_are_wanted(role: Role) -> None:
    raw, plain = ranked(role, raw_scores=True, return_text=True), ranked(role)
    assert [row["index"] for row in raw] == [row["index"] for row in plain]
    assert sum(row["score"] for row in raw) == pytest.approx(0.0, abs=1e-5)
    assert raw[0]["text"] == TEXTS[raw[0]["index"]]
    assert "text" not in plain[0]


def test_one_text_is_in_the_middle(role: Role) -> None:
    assert ranked(role, texts=["anything"]) == [{"index": 0, "score": 0.5}]


def test_maxsim_scores_as_loops_of_plain_python_do(role: Role) -> None:
    expected = {index: by_hand("where is the bicycle", text) for index, text in enumerate(TEXTS)}
    rows = ranked(role, "/maxsim", raw_scores=True)
    assert {row["index"]: row["score"] for row in rows} == pytest.approx(expected, abs=1e-4)
    shown = ranked(role, "/maxsim")
    assert [row["index"] for row in shown] == sorted(expected, key=lambda n: -expected[n])
    assert shown[0]["score"] == pytest.approx((1 + rows[0]["score"] / 8) / 2, abs=1e-5)


def test_more_texts_than_the_queue_takes_at_once_are_all_scored(role: Role) -> None:
    texts = [f"the shed {number}" for number in range(39)] + [TEXTS[1]]
    for path in ("/rerank", "/maxsim"):
        rows = ranked(role, path, texts=texts)
        assert rows[0]["index"] == 39
        assert sorted(row["index"] for row in rows) == list(range(40))


@pytest.mark.parametrize("path", ["/rerank", "/maxsim"])
@pytest.mark.parametrize(
    ("body", "status", "error_type", "words"),
    [
        ({"texts": [LONG]}, 413, "Validation", "tokens. Given:"),
        ({"texts": ["x"] * 41}, 413, "Validation", "batch size 41 > maximum allowed batch size 40"),
        ({"texts": []}, 400, "Empty", "cannot be empty"),
        ({"texts": ["x", ""]}, 400, "Empty", "cannot be empty"),
        ({"query": ""}, 400, "Empty", "cannot be empty"),
        ({"query": None}, 422, "Tokenizer", "query"),
        ({"texts": "x"}, 422, "Tokenizer", "texts"),
        ({"truncation_direction": "Up"}, 422, "Tokenizer", "truncation_direction"),
    ],
)
def test_errors_are_those_of_embed(
    role: Role, path: str, body: Any, status: int, error_type: str, words: str
) -> None:
    answer = post(role, path, {"query": "q", "texts": ["x"]} | body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, error_type)
    assert words in answer.json()["error"]


@pytest.mark.parametrize("path", ["/rerank", "/maxsim"])
def test_long_texts_are_cut_from_either_end(role: Role, path: str) -> None:
    text = "taxes are due in april every year " * 60 + "the bicycle is in the shed " * 60
    kept = {}
    for way in ("Left", "Right"):
        asked = {"raw_scores": True, "truncate": True, "truncation_direction": way}
        rows = ranked(role, path, texts=[text, TEXTS[0], TEXTS[2]], **asked)
        kept[way] = {row["index"]: row["score"] for row in rows}[0]
    assert kept["Left"] > kept["Right"]


def test_info_says_which_rerankers_there_are_the_best_first(role: Role) -> None:
    info = httpx.get(f"{role.url}/info").json()
    assert info["rerankers"] == [
        {"model": "tiny-colbert", "kind": "maxsim", "route": "/maxsim"},
        {"model": "bm25+all-minilm-l6-v2", "kind": "fusion", "route": "/rerank"},
    ]
    assert info["max_rerank_texts"] == 40


def test_metrics_count_them(role: Role) -> None:
    ranked(role, "/maxsim")
    metrics = httpx.get(f"{role.url}/metrics").text
    assert 'appliance_rerank_requests_total{kind="maxsim",status="200"}' in metrics
    assert "appliance_maxsim_batch_duration_seconds_count" in metrics


async def test_the_gateways_client_asks_either(role: Role) -> None:
    http = HttpClient()
    client = RerankClient(InferenceConfig(url=role.url), RerankConfig(), http)
    async with aclosing(http):
        assert await client.rerankers() == (MAXSIM, FUSION)
        for reranker in (MAXSIM, FUSION):
            scores = await client.score(
                reranker, "where is the bicycle", [*TEXTS, LONG], Identity("t" * 32, reranker.kind)
            )
            assert len(scores.values) == 4
            assert scores.values[1] == max(scores.values[:3])
            assert scores.input_tokens
            assert role.line("correlation_id", reranker.kind)["request_model"] == reranker.model
        with pytest.raises(RequestTooLarge, match="batch size 41"):
            await client.score(FUSION, "q", ["x"] * 41)


async def test_without_a_role_it_is_unavailable() -> None:
    http = HttpClient()
    async with aclosing(http):
        for url in ("", f"http://127.0.0.1:{free_port()}"):
            client = RerankClient(InferenceConfig(url=url), RerankConfig(), http)
            with pytest.raises(PartUnavailable, match="inference role"):
                await client.rerankers()


def test_without_a_folder_maxsim_says_how_to_have_it(built_model: Path, tmp_path: Path) -> None:
    with running(tmp_path, built_model) as plain:
        answer = post(plain, "/maxsim", {"query": "q", "texts": ["x"]})
        assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
        assert "[inference] colbert_dir" in answer.json()["error"]
        info = httpx.get(f"{plain.url}/info").json()
        assert [each["kind"] for each in info["rerankers"]] == ["fusion"]


def test_a_folder_that_is_none_stops_the_role_with_a_sentence(
    built_model: Path, tmp_path: Path
) -> None:
    words = command(tmp_path, built_model, free_port(), f'colbert_dir = "{tmp_path / "none"}"\n')
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr
