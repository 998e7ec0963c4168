from hashlib import sha256

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.exchange import Rerank, Scored
from appliance.domain.identity import Identity
from appliance.domain.rerank.record import RecordedReranks
from appliance.domain.rerank.service import Document, RerankRequest, RerankService
from tests.fakes.ledger import Sink, recorder
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


def recorded(role: FakeRole, sink: Sink) -> RecordedReranks:
    return RecordedReranks(RerankService(role, max_documents=5, timeout_s=5.0), recorder(sink))


async def test_a_call_is_recorded_with_every_score_and_no_text_of_a_document() -> None:
    sink = Sink()
    found = await recorded(FakeRole(), sink).rerank(ASKED, CALLER)
    assert [hit.index for hit in found.hits] == [1, 0]
    (kept,) = sink.seen
    assert (kept.status, kept.operation, kept.conversation_id) == ("finished", "rerank", "talk")
    assert (kept.request_model, kept.response_model, kept.backend) == (
        "rerank-v3.5",
        "bm25+words",
        "inference",
    )
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
    sink = Sink()
    with pytest.raises(PartUnavailable):
        await recorded(FakeRole(fails=DOWN), sink).rerank(ASKED, CALLER)
    (kept,) = sink.seen
    assert (kept.status, kept.error_type) == ("failed", "PartUnavailable")
    assert kept.rerank == Rerank(
        "rerank-v3.5", query="red fox", documents=2, top_n=1, duration_s=1.0
    )
