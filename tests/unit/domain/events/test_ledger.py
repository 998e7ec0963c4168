import pytest

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.ledger import Ledger
from tests.fakes.exchanges import exchange
from tests.fakes.ledger import Sink


def test_every_sink_is_told_also_behind_one_that_is_full() -> None:
    sinks = Sink(full=True), Sink()
    assert Ledger(sinks).keep(exchange(1)) is False
    assert [len(sink.seen) for sink in sinks] == [1, 1]
    assert Ledger((Sink(),)).keep(exchange(1)) is True


def test_nothing_is_refused_where_an_answer_may_go_out_unkept() -> None:
    Ledger((Sink(full=True),)).require_room()


def test_where_it_must_be_kept_a_full_spool_refuses() -> None:
    Ledger((), lambda: "").require_room()
    with pytest.raises(PartUnavailable, match="the spool is full") as refused:
        Ledger((), lambda: "the spool is full").require_room()
    assert refused.value.part == "spool"


def test_where_it_must_be_kept_a_finished_one_that_is_not_is_an_error() -> None:
    ledger = Ledger((Sink(full=True),), lambda: "")
    with pytest.raises(PartUnavailable, match="could not be kept"):
        ledger.keep(exchange(1, status="finished"))
    assert ledger.keep(exchange(1, status="failed")) is False
    assert ledger.keep(exchange(1, status="cancelled")) is False
