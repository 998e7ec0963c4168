import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.identity import Identity, TraceIds, began_s, identify, new_trace_id

TRACE = "0123456789ab" + "0" * 20


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_trace_ids_sort_by_time_whatever_the_entropy(early: int, late: int) -> None:
    early, late = sorted((early, late))
    before, after = new_trace_id(early, b"\xff" * 10), new_trace_id(late, b"\x00" * 10)
    assert (before < after) == (early < late)


@given(st.integers(0, 2**63), st.binary(min_size=10, max_size=10))
def test_a_trace_id_is_32_hex_digits_and_fit_for_a_unit_name(moment: int, entropy: bytes) -> None:
    made = new_trace_id(moment, entropy)
    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")


def test_two_trace_ids_of_one_moment_differ() -> None:
    assert new_trace_id(1, os.urandom(10)) != new_trace_id(1, os.urandom(10))


def test_a_trace_id_tells_when_its_exchange_began_and_another_id_nothing() -> None:
    assert began_s(new_trace_id(1_795_271_221_123, b"\x01" * 10)) == 1_795_271_221.123
    assert [began_s(other) for other in ("", "thread", "F" * 32, "0" * 31)] == [None] * 4


def test_a_clock_that_is_set_back_does_not_turn_the_order_of_ids() -> None:
    moments = iter([100.0, 101.0, 40.0, 41.0, 101.5])
    ids = TraceIds(lambda: next(moments), os.urandom)
    made = [ids.new() for _ in range(5)]
    assert [int(one[:12], 16) for one in made] == [100_000, 101_000, 101_000, 101_000, 101_500]
    assert len(set(made)) == 5


def test_the_correlation_header_wins_over_the_request_id() -> None:
    assert identify(TRACE, "mine", "other") == Identity(TRACE, "mine")
    assert identify(TRACE, None, "other") == Identity(TRACE, "other")
    assert identify(TRACE, "", "other") == Identity(TRACE, "other")


def test_without_a_header_the_correlation_id_is_ours_and_nothing_was_replaced() -> None:
    assert identify(TRACE, None, None) == Identity(TRACE, TRACE, replaced=False)


@pytest.mark.parametrize("sent", ["a" * 128, "Az09._:=@/+-", "urn:uuid:1/2", "x"])
def test_a_correlation_id_of_the_alphabet_is_taken_as_it_is(sent: str) -> None:
    assert identify(TRACE, sent, None) == Identity(TRACE, sent)


@pytest.mark.parametrize(
    "hostile",
    ["a" * 129, "a b", " ", "a\n", "a\nb", "ü", "a;b", "$(x)", "%0a", "../ x", "\x00", "a\r\nX: y"],
)
def test_a_hostile_correlation_id_is_replaced_and_said_so(hostile: str) -> None:
    assert identify(TRACE, hostile, "good") == Identity(TRACE, TRACE, replaced=True)


@given(st.text(max_size=140), st.text(max_size=140))
def test_a_correlation_id_never_leaves_its_alphabet(first: str, second: str) -> None:
    found = identify(TRACE, first, second)
    assert found.trace_id == TRACE
    assert 0 < len(found.correlation_id) <= 128
    assert all(c.isascii() and (c.isalnum() or c in "._:=@/+-") for c in found.correlation_id)
    assert found.replaced == (found.correlation_id not in (first, second) and bool(first or second))
