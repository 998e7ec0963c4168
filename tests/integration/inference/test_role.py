"""The inference role as a process: real Granian, real model."""

import asyncio
import json
import math
import subprocess
import time
from array import array
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.config.schema import InferenceConfig
from appliance.domain.errors import ContextLengthExceeded
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.client import InferenceClient
from appliance.infra.onnx.spec import INT8, VECTOR_MODEL
from tests.fakes.embedding_model import with_wrong
from tests.fakes.inference_role import Role, command, running
from tests.fakes.ports import free_port

LONG = "word " * 400


@pytest.fixture(scope="module")
def role(built_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    with running(tmp_path_factory.mktemp("role"), built_model) as started:
        yield started


def embed(role: Role, body: Any, accept: str = "application/json") -> httpx.Response:
    return httpx.post(f"{role.url}/embed", json=body, headers={"accept": accept}, timeout=60)


def test_json_and_octets_carry_the_same_unit_vectors(role: Role) -> None:
    body = {"inputs": ["a first text", "another one"]}
    as_json, octets = embed(role, body), embed(role, body, "application/octet-stream")
    rows = as_json.json()
    assert [len(row) for row in rows] == [256, 256]
    assert [math.hypot(*row) for row in rows] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert array("f", octets.content).tolist() == pytest.approx(rows[0] + rows[1], abs=1e-6)
    assert octets.headers["content-type"] == "application/octet-stream"
    assert octets.headers["x-shape"] == "2,256"
    assert octets.headers["x-model"] == VECTOR_MODEL
    assert octets.headers["x-input-tokens"] == "9"


def test_one_string_is_a_batch_of_one(role: Role) -> None:
    assert len(embed(role, {"inputs": "one"}).json()) == 1


def test_like_texts_are_near_and_unlike_ones_far(role: Role) -> None:
    cat, kitten, tax = embed(
        role, {"inputs": ["The cat sleeps.", "A kitten is napping.", "Taxes are due in April."]}
    ).json()
    assert dot(cat, kitten) > 0.5 > 0.2 > dot(cat, tax)


def dot(left: list[float], right: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def test_fewer_dimensions_are_the_first_at_unit_length(role: Role) -> None:
    (whole,) = embed(role, {"inputs": "a text"}).json()
    (short,) = embed(role, {"inputs": "a text", "dimensions": 64}).json()
    length = math.hypot(*whole[:64])
    assert short == pytest.approx([x / length for x in whole[:64]], abs=1e-6)


def test_normalize_false_leaves_the_length(role: Role) -> None:
    (plain,) = embed(role, {"inputs": "a text", "normalize": False}).json()
    (unit,) = embed(role, {"inputs": "a text"}).json()
    assert math.hypot(*plain) != pytest.approx(1.0, abs=1e-3)
    assert dot(plain, unit) == pytest.approx(math.hypot(*plain), rel=1e-5)


def test_truncation_keeps_the_beginning_or_the_end(role: Role) -> None:
    text = "The cat sleeps on the mat. " * 60 + "Taxes are due in April. " * 60
    right, left, cat, tax = (
        embed(role, {"inputs": part, "truncate": True, **more}).json()[0]
        for part, more in (
            (text, {}),
            (text, {"truncation_direction": "Left"}),
            ("The cat sleeps on the mat.", {}),
            ("Taxes are due in April.", {}),
        )
    )
    assert dot(right, cat) > 0.4 > dot(right, tax)
    assert dot(left, tax) > 0.4 > dot(left, cat)


@pytest.mark.parametrize(
    ("body", "status", "error_type", "words"),
    [
        ({"inputs": LONG}, 413, "Validation", "must have less than 256 tokens. Given: 402"),
        ({"inputs": ["x"] * 257}, 413, "Validation", "batch size 257 > maximum allowed"),
        ({"inputs": ["x", ""]}, 400, "Empty", "cannot be empty"),
        ({"inputs": []}, 400, "Empty", "cannot be empty"),
        ({"inputs": [1]}, 422, "Tokenizer", "inputs"),
        ({}, 422, "Tokenizer", "inputs"),
        ({"inputs": "x", "dimensions": 257}, 422, "Tokenizer", "256 dimensions"),
        ({"inputs": "x", "prompt_name": "query"}, 422, "Tokenizer", "no prompts"),
    ],
)
def test_errors_are_text_embeddings_inferences(
    role: Role, body: Any, status: int, error_type: str, words: str
) -> None:
    answer = embed(role, body)
    assert answer.status_code == status
    assert answer.json()["error_type"] == error_type
    assert words in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"inputs": "\xff"}'])
def test_a_body_that_is_not_json_is_422(role: Role, body: bytes) -> None:
    answer = httpx.post(f"{role.url}/embed", content=body)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Tokenizer")


def test_a_body_beyond_the_limit_is_413(role: Role) -> None:
    answer = httpx.post(f"{role.url}/embed", content=b" " * (8 * 1024 * 1024 + 1), timeout=60)
    assert (answer.status_code, answer.json()["error_type"]) == (413, "Validation")


def test_paths_and_methods_it_does_not_have(role: Role) -> None:
    assert httpx.get(f"{role.url}/embed").status_code == 405
    assert "error" in httpx.get(f"{role.url}/nothing").json()


def test_info_says_what_clients_of_that_server_read(role: Role) -> None:
    info = httpx.get(f"{role.url}/info").json()
    assert info["model_id"] == "all-minilm-l6-v2"
    assert (info["max_input_length"], info["max_client_batch_size"]) == (256, 256)
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}


def test_ready_and_metrics_name_the_precision(role: Role) -> None:
    ready = httpx.get(f"{role.url}/ready").json()
    assert (ready["status"], ready["precision"], ready["degraded"]) == ("ready", INT8, {})
    embed(role, {"inputs": "count me"})
    metrics = httpx.get(f"{role.url}/metrics").text
    assert 'precision="int8"' in metrics
    assert 'appliance_embedding_requests_total{status="200"}' in metrics
    assert "gen_ai_client_token_usage_bucket" in metrics


def test_the_callers_correlation_id_is_echoed_and_logged(role: Role) -> None:
    answer = httpx.post(
        f"{role.url}/embed", json={"inputs": "x"}, headers={"x-correlation-id": "thread-7"}
    )
    assert answer.headers["x-correlation-id"] == "thread-7"
    line = role.line("correlation_id", "thread-7")
    assert (line["path"], line["status"], line["texts"]) == ("/embed", 200, 1)


async def test_many_callers_at_once_each_get_their_own(role: Role) -> None:
    http = HttpClient()
    client = InferenceClient(InferenceConfig(url=role.url), http)
    texts = [f"{'padding ' * (n % 9)}text number {n}" for n in range(40)]
    alone = [(await client.embed([text])).vectors[0] for text in texts]
    together = await asyncio.gather(*(client.embed([text]) for text in texts))
    for one, other in zip(alone, together, strict=True):
        assert dot(list(one), list(other.vectors[0])) > 0.98
    with pytest.raises(ContextLengthExceeded):
        await client.embed([LONG], truncate=False)
    await client.ping()
    await http.aclose()


async def test_a_caller_that_hangs_up_leaves_the_queue(role: Role) -> None:
    http = HttpClient()
    body = json.dumps({"inputs": [f"{n} {LONG}" for n in range(250)], "truncate": True}).encode()
    asked = asyncio.ensure_future(http.send("POST", f"{role.url}/embed", {}, body, timeout_s=60))
    await asyncio.to_thread(wait_for_depth, role, 250, 60)
    overload = await http.send("POST", f"{role.url}/embed", {}, body, timeout_s=60)
    async with aclosing(overload):
        assert overload.status == 429
        assert json.loads(await overload.read(1000, 5))["error_type"] == "Overloaded"
    asked.cancel()
    # Embedding 250 long texts takes far longer than this waits.
    await asyncio.to_thread(wait_for_depth, role, 0, 5)
    await http.aclose()


def wait_for_depth(role: Role, depth: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (
            f"\nappliance_embedding_queue_depth {depth}.0\n"
            in httpx.get(f"{role.url}/metrics").text
        ):
            return
        time.sleep(0.01)
    raise AssertionError(f"the queue did not get to {depth}")


def test_a_wrong_int8_graph_is_said_in_log_ready_and_metrics(
    built_model: Path, tmp_path: Path
) -> None:
    wrong = with_wrong(built_model, tmp_path / "wrong", INT8)
    with running(tmp_path, wrong) as role:
        ready = httpx.get(f"{role.url}/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert "int8 failed its probe" in ready.json()["degraded"]["fp32"]
        assert 'degraded="true"' in httpx.get(f"{role.url}/metrics").text
        rejected = role.line("event", "model_rejected")
        assert (rejected["level"], rejected["precision"]) == ("warning", INT8)
        assert len(embed(role, {"inputs": "still serves"}).json()) == 1


def test_without_a_model_it_refuses_with_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, tmp_path / "nowhere", free_port()), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "run `appliance build-model --dir" in done.stderr
    assert "Traceback" not in done.stderr
