"""The gateway's side of `/embed`, against a role that says what the test wants."""

import asyncio
import json
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from appliance.config.schema import InferenceConfig
from appliance.domain.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    PartUnavailable,
    RequestTooLarge,
)
from appliance.domain.identity import Identity
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.client import InferenceClient
from appliance.infra.onnx.spec import DIMENSIONS, MAX_BODY_BYTES, VECTOR_MODEL
from tests.fakes.ports import free_port

Answer = tuple[int, dict[str, str], bytes]
Script = Callable[[dict[str, Any]], Answer]


def vectors(body: dict[str, Any]) -> Answer:
    """Each text's vector begins with its length; three tokens a text."""
    rows = b"".join(
        array("f", [len(text), *[0.0] * (DIMENSIONS - 1)]).tobytes() for text in body["inputs"]
    )
    count = len(body["inputs"])
    headers = {
        "x-shape": f"{count},{DIMENSIONS}",
        "x-model": "other/1",
        "x-input-tokens": f"{3 * count}",
    }
    return 200, headers, rows


def failure(status: int, error: str, error_type: str) -> Answer:
    return status, {}, json.dumps({"error": error, "error_type": error_type}).encode()


@asynccontextmanager
async def role(
    script: Script, *, timeout_s: float = 5.0, heads: list[str] | None = None
) -> AsyncIterator[InferenceClient]:
    """A client of a loopback server that answers `/embed` by `script`; `heads` gets what came."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                if heads is not None:
                    heads.append(head.lower())
                size = int(head.lower().partition("content-length: ")[2].split("\r\n")[0] or 0)
                status, headers, body = script(json.loads(await reader.readexactly(size)))
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                top = f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n"
                writer.write(top.encode() + body)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = HttpClient()
    try:
        config = InferenceConfig(url=f"http://127.0.0.1:{port}", timeout_s=timeout_s)
        yield InferenceClient(config, http)
    finally:
        await http.aclose()
        server.close()


async def test_both_ids_of_the_exchange_go_along() -> None:
    heads: list[str] = []
    async with role(vectors, heads=heads) as client:
        await client.embed(["a"], identity=Identity("trace1", "thread/2"))
    assert "x-correlation-id: thread/2\r\n" in heads[0]
    assert "x-request-id: trace1\r\n" in heads[0]


async def test_many_texts_go_in_batches_and_come_back_in_order() -> None:
    sizes = []

    def script(body: dict[str, Any]) -> Answer:
        sizes.append(len(body["inputs"]))
        return vectors(body)

    texts = ["x" * (1 + n % 7) for n in range(70)]
    async with role(script) as client:
        embedded = await client.embed(texts)
    assert sizes == [32, 32, 6]
    assert [row[0] for row in embedded.vectors] == [len(text) for text in texts]
    assert {len(row) for row in embedded.vectors} == {DIMENSIONS}
    assert embedded.input_tokens == 210


async def test_a_batch_is_bounded_in_characters_too() -> None:
    sizes = []

    def script(body: dict[str, Any]) -> Answer:
        sizes.append(len(body["inputs"]))
        return vectors(body)

    async with role(script) as client:
        await client.embed(["x" * 200_000, "y" * 100_000, "z"])
    assert sizes == [1, 2]


async def test_the_model_is_known_without_asking_and_learned_from_the_answer() -> None:
    async with role(vectors) as client:
        assert client.model == VECTOR_MODEL
        assert (await client.embed(["a"])).model == "other/1"
        assert client.model == "other/1"


async def test_no_texts_ask_nothing() -> None:
    async with role(lambda body: failure(500, "asked", "Backend")) as client:
        assert (await client.embed([])).vectors == []


async def test_truncation_is_asked_for_unless_forbidden() -> None:
    asked = []

    def script(body: dict[str, Any]) -> Answer:
        asked.append(body["truncate"])
        return vectors(body)

    async with role(script) as client:
        await client.embed(["a"])
        await client.embed(["a"], truncate=False)
    assert asked == [True, False]


async def test_a_text_that_is_too_long_is_the_callers_error() -> None:
    too_long = failure(413, "`inputs` must have less than 256 tokens. Given: 300", "Validation")
    async with role(lambda body: too_long) as client:
        with pytest.raises(ContextLengthExceeded, match="Given: 300"):
            await client.embed(["a"], truncate=False)


async def test_more_than_the_role_takes_is_refused_before_it_is_sent() -> None:
    heads: list[str] = []
    async with role(vectors, heads=heads) as client:
        with pytest.raises(RequestTooLarge, match=f"takes {MAX_BODY_BYTES}") as refused:
            await client.embed(["x" * MAX_BODY_BYTES])
        assert refused.value.param == "input"
        await client.embed(["x" * (MAX_BODY_BYTES - 100)])
    assert len(heads) == 1


async def test_megabytes_are_the_callers_error_and_not_worth_another_try() -> None:
    too_large = failure(413, "The body is larger than the limit of 8388608 bytes.", "Validation")
    async with role(lambda body: too_large) as client:
        with pytest.raises(RequestTooLarge, match="8388608"):
            await client.embed(["a"])


async def test_an_empty_text_is_the_callers_error() -> None:
    async with role(lambda body: failure(400, "`inputs` cannot be empty", "Empty")) as client:
        with pytest.raises(InvalidRequest, match="cannot be empty"):
            await client.embed([""])


async def test_half_a_character_is_the_callers_error() -> None:
    async with role(vectors) as client:
        with pytest.raises(InvalidRequest, match="not valid Unicode"):
            await client.embed(["a\ud800"])


async def test_an_overloaded_role_is_asked_again() -> None:
    answers = iter([failure(429, "Model is overloaded", "Overloaded")] * 2)
    async with role(lambda body: next(answers, None) or vectors(body)) as client:
        assert len((await client.embed(["a"])).vectors) == 1


async def test_an_overloaded_role_is_down_when_the_time_is_up() -> None:
    busy = failure(429, "Model is overloaded", "Overloaded")
    async with role(lambda body: busy, timeout_s=0.3) as client:
        with pytest.raises(PartUnavailable, match=r"within 0\.3 s"):
            await client.embed(["a"])


@pytest.mark.parametrize(
    "answer",
    [
        failure(424, "broken", "Backend"),
        (500, {}, b"<html>"),
        (200, {}, b"[[0.1]]"),
        (200, {"x-shape": "1,384"}, bytes(4 * 384)),
        (200, {"x-shape": f"1,{DIMENSIONS}"}, bytes(12)),
    ],
)
async def test_any_other_answer_is_a_role_that_is_down(answer: Answer) -> None:
    async with role(lambda body: answer) as client:
        with pytest.raises(PartUnavailable) as caught:
            await client.embed(["a"])
    assert caught.value.part == "inference"


async def test_nobody_listening_and_nothing_configured_are_a_role_that_is_down() -> None:
    for url in (f"http://127.0.0.1:{free_port()}", ""):
        client = InferenceClient(InferenceConfig(url=url), HttpClient())
        with pytest.raises(PartUnavailable):
            await client.embed(["a"])
        with pytest.raises(PartUnavailable):
            await client.ping()


def test_the_client_imports_nothing_of_the_model() -> None:
    probe = "import sys, appliance.infra.inference.client as c; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "onnxruntime", "tokenizers", "onnx", "prometheus_client"} & set(loaded)
