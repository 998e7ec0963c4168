import asyncio
from hashlib import sha256

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.exchange import Exchange, Rerank, Scored
from appliance.domain.identity import Identity
from appliance.domain.rerank.record import RecordedReranks
from appliance.domain.rerank.service import Document, RerankRequest, RerankService
from tests.fakes.rerank_role import FakeRole

CALLER = Caller(Identity("t" * 32, "thread"), "rerank", Key("laptop", "", ()))
DOWN = PartUnavailable("the inference role cannot be reached", part="inference")
ASKED = RerankRequest(
    "rerank-v3.5",
    "red fox",
    (Document("blue", "blue"), Document("a red fox", {"text": "a red fox"}, "b.md")),
    top_n=1,
    extensions=Extensions(project="p", conversation="talk"),
)


class Kept:
    def __init__(self, keeps: bool = True) -> None:
        self.seen: list[Exchange] = []
        self._keeps = keeps

    def keep(self, exchange: Exchange) -> bool:
        self.seen.append(exchange)
        return self._keeps


def recorded(role: FakeRole, sink: Kept, unkept: str | None = None) -> RecordedReranks:
    ticks = iter(range(100))
    return RecordedReranks(
        RerankService(role, max_documents=5, timeout_s=5.0),
        (sink,),
        clock=Clock(lambda: 1_795_000_000.5, lambda: float(next(ticks))),
        host="desk",
        status_of=lambda error: 503 if error else 499,
        unkept=None if unkept is None else lambda: unkept,
    )


async def test_a_call_is_recorded_with_every_score_and_no_text_of_a_document() -> None:
    sink = Kept()
    found = await recorded(FakeRole(), sink).rerank(ASKED, CALLER)
    assert [hit.index for hit in found.hits] == [1, 0]
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.operation) == ("finished", 200, "rerank")
    assert (kept.request_model, kept.response_model, kept.backend) == (
        "rerank-v3.5",
        "bm25+words",
        "inference",
    )
    assert (kept.conversation_id, kept.project, kept.key_name) == ("talk", "p", "laptop")
    digests = [sha256(text).hexdigest() for text in (b"a red fox", b"blue")]
    assert kept.rerank == Rerank(
        "bm25+words",
        query="red fox",
        documents=2,
        top_n=1,
        scores=(Scored(1, 1.0, digests[0], "b.md"), Scored(0, 0.0, digests[1])),
        input_tokens=7,
        duration_s=1.0,
    )


async def test_a_call_that_fails_is_recorded_without_scores() -> None:
    sink = Kept()
    with pytest.raises(PartUnavailable):
        await recorded(FakeRole(fails=DOWN), sink).rerank(ASKED, CALLER)
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.error_type) == ("failed", 503, "PartUnavailable")
    assert kept.rerank is not None
    assert (kept.rerank.model, kept.rerank.scores) == ("rerank-v3.5", ())


class Hanging(FakeRole):
    async def rerankers(self):  # type: ignore[no-untyped-def]
        await asyncio.sleep(60)


async def test_a_client_that_leaves_is_recorded_as_cancelled() -> None:
    sink = Kept()
    call = asyncio.ensure_future(recorded(Hanging(), sink).rerank(ASKED, CALLER))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [(kept.status, kept.http_status) for kept in sink.seen] == [("cancelled", 499)]


async def test_what_cannot_be_kept_is_refused_where_it_must_be() -> None:
    role = FakeRole()
    with pytest.raises(PartUnavailable, match="disk full"):
        await recorded(role, Kept(), unkept="disk full").rerank(ASKED, CALLER)
    assert not role.asked
    with pytest.raises(PartUnavailable, match="could not be kept"):
        await recorded(role, Kept(keeps=False), unkept="").rerank(ASKED, CALLER)
    await recorded(role, Kept(keeps=False)).rerank(ASKED, CALLER)
