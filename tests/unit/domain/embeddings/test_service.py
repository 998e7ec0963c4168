import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.chat.slots import SlotLimits, Slots
from appliance.domain.embeddings.service import (
    DIMENSIONS,
    MODEL,
    EmbeddingRequest,
    EmbeddingService,
    shortened,
)
from appliance.domain.errors import (
    BackendProtocolError,
    BackendUnavailable,
    InvalidRequest,
    ModelNotFound,
    PartUnavailable,
)
from appliance.domain.routing.candidate import ModelRow
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.router import Router
from tests.fakes.chat_backend import FakeBackend
from tests.fakes.embedder import WordEmbedder


class Remote(FakeBackend):
    """Answers `body`, or raises it."""

    def __init__(self, body: Any) -> None:
        super().__init__("remote")
        self.body = body
        self.sent: list[tuple[list[Any], str, dict[str, Any]]] = []

    async def embed(
        self, inputs: Sequence[Any], model: str, fields: Mapping[str, Any], identity: object = None
    ) -> dict[str, Any]:
        self.sent.append((list(inputs), model, dict(fields)))
        if isinstance(self.body, Exception):
            raise self.body
        body: dict[str, Any] = self.body
        return body


def served(body: Any = None) -> tuple[EmbeddingService, WordEmbedder, Remote, Slots]:
    remote, embedder = Remote(body), WordEmbedder()
    directory = ModelDirectory({"remote": remote}, ttl_s=60, clock=lambda: 0.0)
    rows = [ModelRow("theirs", "remote", upstream_model="theirs-v2")]
    router = Router(rows, ["remote"], directory, default_backend="remote")
    slots = Slots("remote", SlotLimits(1, 0, 1.0))
    return (
        EmbeddingService(embedder, router, {"remote": remote}, {"remote": slots}, total_s=5.0),
        embedder,
        remote,
        slots,
    )


def rows(*numbers: tuple[int, Any]) -> dict[str, Any]:
    data = [{"index": index, "embedding": vector} for index, vector in numbers]
    return {"data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}


@pytest.mark.parametrize("model", ["", "auto", MODEL, f"{MODEL}:latest"])
async def test_our_model_embeds_in_the_order_of_the_texts(model: str) -> None:
    service, embedder, remote, _ = served()
    found = await service.embed(EmbeddingRequest(model, ("one", "two")))
    assert embedder.texts == ["one", "two"]
    assert found.vectors == (await WordEmbedder().embed(["one", "two"])).vectors
    assert (found.model, found.input_tokens) == (MODEL, 6)
    assert remote.sent == []


@pytest.mark.parametrize("dimensions", [1, 64, 255])
async def test_fewer_dimensions_are_the_first_ones_at_unit_length(dimensions: int) -> None:
    service, _, _, _ = served()
    text = " ".join(map(str, range(400)))
    whole = (await service.embed(EmbeddingRequest("", (text,)))).vectors[0]
    short = (await service.embed(EmbeddingRequest("", (text,), dimensions))).vectors[0]
    assert len(short) == dimensions
    assert math.fsum(x * x for x in short) == pytest.approx(1.0)
    scale = math.sqrt(math.fsum(x * x for x in whole[:dimensions]))
    assert [x * scale for x in short] == pytest.approx(list(whole[:dimensions]))


async def test_all_dimensions_are_the_vector_as_it_is() -> None:
    service, _, _, _ = served()
    found = await service.embed(EmbeddingRequest("", ("x",), DIMENSIONS))
    assert found.vectors == (await WordEmbedder().embed(["x"])).vectors


@pytest.mark.parametrize("dimensions", [0, -1, DIMENSIONS + 1])
async def test_dimensions_our_model_does_not_have_are_refused(dimensions: int) -> None:
    service, embedder, _, _ = served()
    with pytest.raises(InvalidRequest) as refused:
        await service.embed(EmbeddingRequest("", ("x",), dimensions))
    assert refused.value.param == "dimensions"
    assert embedder.texts == []


async def test_without_the_inference_role_it_is_the_part_that_is_named() -> None:
    service, embedder, _, _ = served()
    embedder.down = True
    with pytest.raises(PartUnavailable) as missing:
        await service.embed(EmbeddingRequest("", ("x",)))
    assert missing.value.part == "inference"


async def test_another_model_is_asked_of_its_backend_and_put_in_order() -> None:
    service, embedder, remote, slots = served(rows((1, [0, 1]), (0, [1, 0.5])))
    request = EmbeddingRequest("theirs", ("a", "b"), 2, {"user": "ann"})
    found = await service.embed(request)
    assert found.vectors == [[1.0, 0.5], [0.0, 1.0]]
    assert (found.model, found.input_tokens) == ("theirs", 5)
    assert remote.sent == [(["a", "b"], "theirs-v2", {"user": "ann", "dimensions": 2})]
    assert (embedder.texts, slots.in_flight) == ([], 0)


async def test_tokens_a_backend_did_not_count_are_unknown() -> None:
    for usage in ({}, {"usage": None}, {"usage": "many"}):
        service, _, remote, _ = served({"data": rows((0, [1.0]))["data"], **usage})
        assert (await service.embed(EmbeddingRequest("theirs", ("a",)))).input_tokens is None
        assert "dimensions" not in remote.sent[0][2]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": 5},
        {"data": [5]},
        {"data": [{"embedding": [1.0]}]},
        {"data": [{"index": 0}]},
        rows((0, "AACAPw==")),
        rows((0, [1.0, None])),
        rows((0, [1.0]), (1, [2.0])),
        rows(),
    ],
    ids=str,
)
async def test_an_answer_without_a_vector_for_each_text_is_a_protocol_error(body: Any) -> None:
    service, _, _, slots = served(body)
    with pytest.raises(BackendProtocolError) as broken:
        await service.embed(EmbeddingRequest("theirs", ("a",)))
    assert (broken.value.backend, slots.in_flight) == ("remote", 0)


async def test_a_backend_that_fails_gives_its_slot_back() -> None:
    service, _, _, slots = served(BackendUnavailable("gone", backend="remote"))
    with pytest.raises(BackendUnavailable):
        await service.embed(EmbeddingRequest("theirs", ("a",)))
    assert slots.in_flight == 0


async def test_a_model_nobody_serves_is_not_found() -> None:
    service, _, _, _ = served()
    with pytest.raises(ModelNotFound):
        await service.embed(EmbeddingRequest("nope", ("a",)))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=300), st.integers(1, 300))
def test_a_shortened_vector_has_unit_length_or_is_all_zero(
    vector: list[float], dimensions: int
) -> None:
    short = shortened(vector, dimensions)
    assert len(short) == min(dimensions, len(vector))
    length = math.sqrt(math.fsum(x * x for x in short))
    tiny = max(map(abs, vector[:dimensions])) < 1e-150  # its square is no number any more
    assert length == pytest.approx(1.0) or tiny


@pytest.mark.parametrize(
    ("dialect", "goes"), [("", True), ("openai_chat", True), ("ollama", False)]
)
async def test_fields_of_a_wire_go_to_backends_of_that_wire_alone(dialect: str, goes: bool) -> None:
    service, _, remote, _ = served(rows((0, [1.0])))
    params = {"keep_alive": "5m"}
    asked = EmbeddingRequest("theirs:latest", ("one",), 4, params, dialect=dialect)
    await service.embed(asked)
    ((_, model, fields),) = remote.sent
    assert model == "theirs-v2"
    assert fields == {**(params if goes else {}), "dimensions": 4}
