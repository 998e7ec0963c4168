import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import InvalidRequest, PartUnavailable
from appliance.domain.events.exchange import Feedback, Store
from appliance.domain.events.ledger import Ledger
from appliance.domain.feedback.service import CLOCKS_S, FeedbackService
from appliance.domain.identity import Identity, new_trace_id
from tests.fakes.ledger import NOW, Sink


def id_of(unix_s: float) -> str:
    return new_trace_id(int(unix_s * 1000), bytes(10))


CALLER = Caller(Identity(id_of(NOW), "thread"), "feedback", Key("laptop", "", ()))
GIVEN = Feedback(id_of(NOW - 60), -2, "too long")


def service(*sinks: Sink, store: Store = "full", refuse: str | None = None) -> FeedbackService:
    unkept = None if refuse is None else lambda: refuse
    return FeedbackService(Ledger(sinks, unkept), wall=lambda: NOW, host="desk", store=store)


def test_it_is_an_exchange_of_its_own_and_every_sink_is_told() -> None:
    sinks = Sink(full=True), Sink()
    own = Extensions(project="p", conversation="talk")
    assert service(*sinks).take(GIVEN, CALLER, own) is False
    for sink in sinks:
        (kept,) = sink.seen
        assert (kept.operation, kept.status, kept.http_status) == ("feedback", "finished", 202)
        ids = (kept.trace_id, kept.correlation_id, kept.conversation_id)
        assert ids == (id_of(NOW), "thread", "talk")
        assert (kept.occurred_at, kept.host, kept.surface) == (NOW, "desk", "feedback")
        assert (kept.key_name, kept.project, kept.feedback) == ("laptop", "p", GIVEN)


def test_without_key_or_conversation_it_is_nobodys_of_its_own_thread() -> None:
    sink = Sink()
    assert service(sink).take(GIVEN, Caller(CALLER.identity, "feedback"), Extensions()) is True
    assert (sink.seen[0].key_name, sink.seen[0].conversation_id) == ("", "thread")


@pytest.mark.parametrize(("store", "stored"), [("full", True), ("metadata", True), ("none", False)])
def test_it_says_whether_it_will_be_stored(store: Store, stored: bool) -> None:
    assert service(Sink(), store=store).take(GIVEN, CALLER, Extensions()) is stored


@pytest.mark.parametrize("rated", ["", "x", "A" * 32, "chatcmpl-1", id_of(NOW)[:-1], "0" * 33])
def test_what_is_no_trace_id_of_ours_is_refused(rated: str) -> None:
    sink = Sink()
    with pytest.raises(InvalidRequest, match="32 hexadecimal digits") as refused:
        service(sink).take(Feedback(rated, 1), CALLER, Extensions())
    assert refused.value.param == "trace_id"
    assert sink.seen == []


def test_an_exchange_that_has_not_begun_cannot_be_rated() -> None:
    taking = service(Sink())
    assert taking.take(Feedback(id_of(NOW + CLOCKS_S - 1), 1), CALLER, Extensions())
    with pytest.raises(InvalidRequest, match="has not come") as refused:
        taking.take(Feedback(id_of(NOW + CLOCKS_S + 1), 1), CALLER, Extensions())
    assert refused.value.param == "trace_id"


def test_after_the_clock_was_set_back_answers_from_before_can_be_rated() -> None:
    before = Caller(Identity(id_of(NOW + 9000), "thread"), "feedback")
    assert service(Sink()).take(Feedback(id_of(NOW + 9000), 1), before, Extensions())


def test_where_it_must_be_kept_a_full_spool_refuses() -> None:
    sink = Sink(full=True)
    with pytest.raises(PartUnavailable, match="the spool is full"):
        service(sink, refuse="the spool is full").take(GIVEN, CALLER, Extensions())
    assert sink.seen == []
    with pytest.raises(PartUnavailable, match="could not be kept"):
        service(sink, refuse="").take(GIVEN, CALLER, Extensions())
