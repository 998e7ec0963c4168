import asyncio

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.embeddings.record import RecordedEmbeddings
from appliance.domain.embeddings.service import EmbeddingRequest
from appliance.domain.errors import BackendUnavailable, PartUnavailable
from appliance.domain.events.exchange import Exchange
from appliance.domain.identity import Identity
from tests.unit.domain.embeddings.test_service import rows, served

CALLER = Caller(Identity("t" * 32, "thread"), "openai_embeddings", Key("laptop", "", ()))


class Kept:
    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    def keep(self, exchange: Exchange) -> bool:
        self.seen.append(exchange)
        return True


class Full:
    def keep(self, exchange: Exchange) -> bool:
        return False


def recorded(body: object = None) -> tuple[RecordedEmbeddings, Kept, object]:
    service, embedder, _, _ = served(body)
    sink = Kept()
    ticks = iter(range(100))
    clock = Clock(lambda: 1_795_000_000.5, lambda: float(next(ticks)))
    made = RecordedEmbeddings(service, (sink,), clock=clock, host="desk", status_of=lambda _: 503)
    return made, sink, embedder


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
    assert (kept.status, kept.http_status, kept.error_type) == ("failed", 503, "BackendUnavailable")
    assert (kept.backend, kept.error_message) == ("remote", "gone")
    assert kept.embedding is not None
    assert (kept.embedding.texts, kept.embedding.dimensions) == (("a",), 64)


async def test_a_part_that_is_down_is_recorded_and_raised() -> None:
    service, sink, embedder = recorded()
    embedder.down = True  # type: ignore[attr-defined]
    with pytest.raises(PartUnavailable):
        await service.embed(EmbeddingRequest("", ("a",)), CALLER)
    assert (sink.seen[0].status, sink.seen[0].error_type) == ("failed", "PartUnavailable")


async def test_where_it_must_be_kept_a_full_spool_refuses_and_an_unkept_answer_is_not_given() -> (
    None
):
    service, embedder, _, _ = served(None)
    reasons = ["the spool is full", ""]
    refusing = RecordedEmbeddings(
        service,
        (Full(),),
        clock=Clock(lambda: 1.0, lambda: 1.0),
        host="desk",
        status_of=lambda _: 503,
        unkept=lambda: reasons.pop(0),
    )
    with pytest.raises(PartUnavailable, match="the spool is full"):
        await refusing.embed(EmbeddingRequest("", ("a",)), CALLER)
    assert embedder.texts == []
    with pytest.raises(PartUnavailable, match="could not be kept"):
        await refusing.embed(EmbeddingRequest("", ("a",)), CALLER)
    assert embedder.texts == ["a"]


async def test_a_caller_that_leaves_is_recorded_as_cancelled() -> None:
    service, sink, embedder = recorded()
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    embedder.embed = never  # type: ignore[attr-defined]
    task = asyncio.ensure_future(service.embed(EmbeddingRequest("", ("a",)), CALLER))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (sink.seen[0].status, sink.seen[0].error_type) == ("cancelled", "")
