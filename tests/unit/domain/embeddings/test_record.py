import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.embeddings.record import RecordedEmbeddings
from appliance.domain.embeddings.service import EmbeddingRequest
from appliance.domain.errors import BackendUnavailable, PartUnavailable
from appliance.domain.identity import Identity
from tests.fakes.ledger import Sink, recorder
from tests.unit.domain.embeddings.test_service import rows, served

CALLER = Caller(Identity("t" * 32, "thread"), "openai_embeddings", Key("laptop", "", ()))


def recorded(body: object = None) -> tuple[RecordedEmbeddings, Sink, object]:
    service, embedder, _, _ = served(body)
    sink = Sink()
    return RecordedEmbeddings(service, recorder(sink)), sink, embedder


async def test_a_call_is_recorded_whole() -> None:
    service, sink, _ = recorded()
    own = Extensions(project="p", conversation="talk")
    await service.embed(EmbeddingRequest("", ("one", "two"), extensions=own), CALLER)
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.operation) == ("finished", 200, "embeddings")
    assert (kept.trace_id, kept.correlation_id, kept.conversation_id) == (
        "t" * 32,
        "thread",
        "talk",
    )
    assert (kept.occurred_at, kept.duration_s, kept.project) == (1_795_000_000.5, 1.0, "p")
    assert (kept.backend, kept.selected_model, kept.key_name) == (
        "inference",
        "all-minilm-l6-v2",
        "laptop",
    )
    made = kept.embedding
    assert made is not None
    assert (made.purpose, made.texts, made.dimensions) == ("request", ("one", "two"), 256)
    assert made.input_tokens == kept.input_tokens == 6


async def test_another_models_backend_is_named() -> None:
    service, sink, _ = recorded(rows((0, [1, 0])))
    await service.embed(EmbeddingRequest("theirs", ("a",)), CALLER)
    assert (sink.seen[0].backend, sink.seen[0].response_model) == ("remote", "theirs")


async def test_a_failed_call_is_recorded_and_raised() -> None:
    service, sink, _ = recorded(BackendUnavailable("gone", backend="remote"))
    with pytest.raises(BackendUnavailable):
        await service.embed(EmbeddingRequest("theirs", ("a",), 64), CALLER)
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.error_type) == ("failed", 418, "BackendUnavailable")
    assert (kept.backend, kept.error_message) == ("remote", "gone")
    assert kept.embedding is not None
    assert (kept.embedding.texts, kept.embedding.dimensions) == (("a",), 64)


async def test_a_part_that_is_down_is_recorded_and_raised() -> None:
    service, sink, embedder = recorded()
    embedder.down = True  # type: ignore[attr-defined]
    with pytest.raises(PartUnavailable):
        await service.embed(EmbeddingRequest("", ("a",)), CALLER)
    assert (sink.seen[0].status, sink.seen[0].error_type) == ("failed", "PartUnavailable")
