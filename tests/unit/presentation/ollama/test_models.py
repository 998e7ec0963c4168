"""What Ollama's clients see of the models, and of embeddings."""

import json
from typing import Any

import pytest

from appliance.domain.embeddings.ports import Embedded
from appliance.domain.errors import InvalidRequest
from appliance.domain.routing.models import Known, Running
from appliance.domain.routing.router import NamedModel
from appliance.presentation.ollama import (
    decode_embed,
    decode_embeddings,
    decode_named,
    encode_embed,
    encode_embeddings,
    running,
    show,
    tags,
    version,
)

SINCE = 1_700_000_000
ROW = {"name": "q:latest", "size": 5, "digest": "ab" * 32, "details": {"format": "gguf"}}


def tagged(*models: NamedModel) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(tags(models, SINCE))["models"]
    return rows


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("qwen3", "qwen3:latest"),
        ("qwen3:8b", "qwen3:8b"),
        ("host:5000/org/m", "host:5000/org/m:latest"),
    ],
)
def test_every_name_of_the_list_has_a_tag(name: str, shown: str) -> None:
    (row,) = tagged(NamedModel(name, "b"))
    assert (row["name"], row["model"]) == (shown, shown)


def test_a_row_has_what_clients_cannot_do_without() -> None:
    first, second = tagged(NamedModel("a", "b"), NamedModel("c", "b"))
    assert first["modified_at"] == "2023-11-14T22:13:20+00:00"
    assert len(first["digest"]) == 64
    assert first["digest"] != second["digest"]
    assert first["size"] == 0
    assert "capabilities" not in first


def test_a_backends_own_row_passes() -> None:
    (row,) = tagged(NamedModel("q", "b", details=ROW))
    assert row.items() >= {**ROW, "model": "q:latest"}.items()


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (set(), ["completion"]),
        ({"tools", "vision", "reasoning"}, ["completion", "tools", "vision", "thinking"]),
        ({"embedding"}, ["embedding"]),
    ],
)
def test_a_model_can_what_the_catalog_knows(known: set[str], told: list[str]) -> None:
    model = NamedModel("m", "b", capabilities=frozenset(known))
    assert json.loads(show(Known(model), SINCE))["capabilities"] == told


def test_the_window_is_under_the_name_of_the_architecture() -> None:
    model = NamedModel("m", "b", 32768, family="qwen3")
    info = json.loads(show(Known(model), SINCE))["model_info"]
    assert info[f"{info['general.architecture']}.context_length"] == 32768
    unknown = json.loads(show(Known(NamedModel("m", "b")), SINCE))["model_info"]
    assert not any(key.endswith(".context_length") for key in unknown)


def test_what_a_backend_shows_is_shown() -> None:
    assert json.loads(show(Known(NamedModel("m", "b"), {"license": "MIT"}), SINCE)) == {
        "license": "MIT"
    }


def test_a_running_model_is_as_its_backend_tells() -> None:
    rows = json.loads(
        running(
            [Running("v", "vllm", 4096), Running("q:8b", "o", 0, {"size_vram": 9, "digest": "d"})]
        )
    )["models"]
    (listed,) = json.loads(tags([NamedModel("v", "vllm")], SINCE))["models"]
    assert rows == [
        {
            "name": "v:latest",
            "model": "v:latest",
            "context_length": 4096,
            "digest": listed["digest"],  # `ollama ps` cuts letters off it
            "size": 0,
            "size_vram": 0,
            "expires_at": "2318-01-01T00:00:00Z",  # without one it says "Stopping..."
            "details": listed["details"],
        },
        {"name": "q:8b", "model": "q:8b", "size_vram": 9, "digest": "d"},
    ]


def test_the_version_is_one_that_has_all_of_these_routes() -> None:
    major, minor, _ = map(int, json.loads(version())["version"].split("."))
    assert (major, minor) >= (0, 14)


def test_a_model_is_asked_for_by_either_name() -> None:
    assert decode_named(b'{"model":"a","name":"b"}') == "a"
    assert decode_named(b'{"name":"b"}') == "b"
    with pytest.raises(InvalidRequest, match="model is required"):
        decode_named(b"{}")


def test_texts_are_embedded_one_or_many() -> None:
    one = decode_embed(b'{"model":"m","input":"a"}', {})
    assert (one.texts, one.truncate, one.dialect) == (("a",), True, "ollama")
    body = b'{"model":"m","input":["a","b"],"truncate":false,"dimensions":8,"keep_alive":"1m"}'
    many = decode_embed(body, {"x-project": "p"})
    assert (many.texts, many.truncate, many.dimensions) == (("a", "b"), False, 8)
    assert many.params == {"truncate": False, "keep_alive": "1m"}
    assert many.extensions.project == "p"
    assert decode_embeddings(b'{"model":"m","prompt":"a"}', {}).texts == ("a",)


@pytest.mark.parametrize("body", [b"{}", b'{"input":[]}', b'{"input":""}', b'{"input":null}'])
def test_no_text_is_nothing_to_embed(body: bytes) -> None:
    request = decode_embed(body, {})
    assert request.texts == ()
    assert json.loads(encode_embed(Embedded([], "m", None), "m", 5)) == {
        "model": "m",
        "embeddings": [],
        "total_duration": 5,
    }
    assert json.loads(encode_embeddings(Embedded([], "m", None), "m", 5)) == {"embedding": []}


@pytest.mark.parametrize("body", [b'{"input":["a",""]}', b'{"input":[1]}', b'{"input":7}'])
def test_what_is_no_text_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_embed(body, {})


def test_vectors_go_out_in_order() -> None:
    embedded = Embedded([[0.5, 0.5], [1.0, 0.0]], "made", 3)
    assert json.loads(encode_embed(embedded, "m", 5)) == {
        "model": "m",
        "embeddings": [[0.5, 0.5], [1.0, 0.0]],
        "total_duration": 5,
        "prompt_eval_count": 3,
    }
    assert json.loads(encode_embeddings(embedded, "m", 5)) == {"embedding": [0.5, 0.5]}
