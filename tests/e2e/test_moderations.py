"""`POST /v1/moderations` at a gateway in its own process: the lexicon, then a remote moderator."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import openai
import pytest

from appliance.domain.moderation.ports import CATEGORIES
from tests.e2e.asking import error_of
from tests.fakes.actions import Behaviour
from tests.fakes.answers import openai_error, rate_limited, reply_json
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import spooled, wait_spooled

PATH = "/v1/moderations"
LOCAL = "lexicon-en-1"
THREAT = "I will kill you."
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}
DATA = "data:image/png;base64,iVBORw0KGgo="
KEY = "ag-laptop"


def post(client: httpx.Client, given: Any, **fields: Any) -> httpx.Response:
    return client.post(PATH, json={"input": given, **fields})


def scored(*flags: bool) -> Behaviour:
    """A remote answer that has a category of its own."""
    rows = [
        {"flagged": flag, "categories": {"spam": flag}, "category_scores": {"spam": float(flag)}}
        for flag in flags
    ]
    return reply_json(200, {"id": "modr-9", "model": "omni-9", "results": rows, "extra": 1})


@pytest.fixture
def sdk(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_the_sdk_gets_a_verdict_for_each_text_by_every_category(sdk: openai.OpenAI) -> None:
    made = sdk.moderations.create(input=[THREAT, "Good morning."], model="omni-moderation-latest")
    assert (made.model, made.id[:5]) == (LOCAL, "modr-")
    bad, good = made.results
    assert bad.flagged
    assert bad.categories.harassment_threatening
    assert bad.category_scores.violence >= 0.5
    assert bad.category_applied_input_types.violence == ["text"]
    assert not good.flagged
    assert set(good.to_dict()["category_scores"]) == set(CATEGORIES)  # type: ignore[call-overload]


def test_a_list_of_parts_is_one_input_and_its_images_are_not_looked_at(sdk: openai.OpenAI) -> None:
    made = sdk.moderations.create(
        input=[{"type": "text", "text": "Good morning."}, IMAGE],  # type: ignore[list-item]
    )
    (result,) = made.results
    assert not result.flagged
    assert result.category_applied_input_types.sexual == ["text"]


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"input": ""}, 400, "input", None),
        ({"input": []}, 400, "input", None),
        ({}, 400, "input", None),
        ({"input": [IMAGE]}, 400, "input", "image_not_supported"),
        ({"input": "a" * 250_001}, 413, "input", "request_too_large"),
        ({"input": "hi", "model": "gpt-4o"}, 404, "model", "model_not_found"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_openais_words(
    client: httpx.Client, body: Any, status: int, param: str, code: str | None
) -> None:
    error = error_of(client.post(PATH, json=body), status)
    assert (error["param"], error["code"]) == (param, code)


def test_a_call_is_kept_as_counts_alone(client: httpx.Client, gateway: GatewayProcess) -> None:
    made = post(client, [THREAT, "unheard-of words"], x_project="p")
    trace_id = made.headers["x-request-id"]
    assert made.json()["id"] == f"modr-{trace_id}"
    record = wait_spooled(gateway.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["operation"], record["status"], record["project"]) == (
        "moderation",
        "finished",
        "p",
    )
    told = record["moderation"]
    assert (told["model"], told["inputs"], told["flagged"]) == (LOCAL, 2, 1)
    assert "unheard-of" not in str(spooled(gateway.spool))
    line = gateway.wait_log("request", path=PATH, trace_id=trace_id)
    assert (line["status"], line["response_model"], line["message_count"]) == (200, LOCAL, 2)
    metrics = client.get("/metrics").text
    assert 'gen_ai_operation_name="moderation"' in metrics


@pytest.fixture(scope="module")
def remote(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("remote")
    (folder / "key").write_text("sk-theirs")
    (folder / "keys.toml").write_text(
        f'[[keys]]\nname = "laptop"\nsha256 = "{sha256(KEY.encode()).hexdigest()}"\n'
    )
    config = backend_config(backend.base_url)
    config += f'[gateway]\nkeys_file = "{folder / "keys.toml"}"\n'
    config += f'[moderation]\nurl = "{backend.url}"\napi_key = "file:{folder / "key"}"\n'
    with GatewayProcess(folder, config) as running:
        yield running


@pytest.fixture
def theirs(remote: GatewayProcess, backend: ScriptedBackend) -> Iterator[httpx.Client]:
    backend.forget()
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=remote.url, timeout=60, headers=headers) as ready:
        yield ready


def test_a_remote_moderator_is_asked_with_its_own_key_and_answers_for_itself(
    theirs: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(scored(True, False))
    made = post(theirs, ["a", "b"], model="omni-9").json()
    assert (made["id"], made["model"], made["extra"]) == ("modr-9", "omni-9", 1)
    assert [row["categories"] for row in made["results"]] == [{"spam": True}, {"spam": False}]
    sent = backend.wait_request()
    assert (sent.path, sent.headers["authorization"]) == (PATH, "Bearer sk-theirs")
    assert sent.json == {"input": ["a", "b"], "model": "omni-9"}


def test_images_reach_it_inline_and_a_private_address_is_not_fetched(
    theirs: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(scored(False))
    inline = {"type": "image_url", "image_url": {"url": DATA}}
    assert post(theirs, [inline]).status_code == 200
    assert backend.wait_request().json["input"] == [inline]
    private = {"type": "image_url", "image_url": {"url": f"{backend.url}/secret.png"}}
    assert "cannot be fetched" in error_of(post(theirs, [private]), 400)["message"]
    assert len(backend.requests) == 1


def test_the_lexicon_answers_to_its_name_beside_a_remote_one(
    theirs: httpx.Client, backend: ScriptedBackend
) -> None:
    assert post(theirs, THREAT, model=LOCAL).json()["results"][0]["flagged"]
    assert not backend.requests


def test_what_it_refuses_is_told_in_its_words_and_that_it_is_down_in_ours(
    theirs: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(openai_error(400, "too long", "invalid_request_error"), rate_limited("7"))
    assert "too long" in error_of(post(theirs, "hi"), 400)["message"]
    limited = post(theirs, "hi")
    assert error_of(limited, 429)["code"] == "rate_limit_exceeded"
    assert limited.headers["retry-after"] == "7"
    backend.stop()
    try:
        assert error_of(post(theirs, "hi"), 503)["code"] == "moderation_unavailable"
    finally:
        backend.start()


def test_nobody_moderates_without_a_key_where_keys_are_required(remote: GatewayProcess) -> None:
    refused = httpx.post(remote.url + PATH, json={"input": "hi"}, timeout=60)
    assert error_of(refused, 401)["code"] == "invalid_api_key"
