import pytest

from appliance.infra.mentions import Mentions, ids_of, rated_in

_EVENT = b'{"event_id":"t:x","trace_id":"t","correlation_id":"c","conversation_id":"v","n":1}'


@pytest.mark.parametrize("identifier", ["t", "c", "v"])
def test_an_event_is_found_by_each_of_its_ids(identifier: str) -> None:
    assert Mentions(identifier)(_EVENT)
    assert ids_of(_EVENT) == {"t", "c", "v"}


@pytest.mark.parametrize(
    "data",
    [
        _EVENT,
        b'{"trace_id":"t","answer":"somebody"}',
        b'{"trace_id":"t","answer":"she said \\"somebody\\""}',
        b'{"trace_id":"t","messages":[{"conversation_id":"somebody"}]}',
        b"somebody without quotes",
        b"",
    ],
)
def test_what_only_speaks_of_an_id_is_not_of_it(data: bytes) -> None:
    assert not Mentions("somebody")(data)


@pytest.mark.parametrize("data", [b'{"trace_id":"somebody"', b'\xff"somebody"', b'["somebody"]'])
def test_what_cannot_be_read_and_names_it_is_taken_for_it(data: bytes) -> None:
    assert Mentions("somebody")(data)
    assert ids_of(data) == set()


def test_an_id_that_json_escapes_is_found() -> None:
    assert Mentions('a"b')(b'{"conversation_id":"a\\"b"}')


def test_what_was_asked_after_it_was_forgotten_is_not_meant() -> None:
    event = b'{"trace_id":"t","occurred_at":"2026-11-21T14:27:01.5Z"}'
    record = b'{"trace_id":"t","occurred_at":1795271221.5}'
    for data in (event, record):
        assert Mentions("t", until=1795271221.5)(data)
        assert not Mentions("t", until=1795271221.4)(data)
    assert Mentions("t", until=1.0)(b'{"trace_id":"t","occurred_at":"some day"}')


@pytest.mark.parametrize(
    "data",
    [
        b'{"trace_id":"f","correlation_id":"c","rated_trace_id":"t"}',  # an event
        b'{"trace_id":"f","correlation_id":"c","feedback":{"rated_trace_id":"t","rating":1}}',
    ],
)
def test_feedback_belongs_to_what_it_rates_too(data: bytes) -> None:
    assert Mentions("t")(data)
    assert Mentions("f")(data)
    assert ids_of(data) == {"f", "c", "t"}
    assert rated_in(data) == "t"


@pytest.mark.parametrize("data", [_EVENT, b'{"trace_id":"t","feedback":null}', b"", b"[1]"])
def test_what_rates_nothing_says_so(data: bytes) -> None:
    assert rated_in(data) == ""
