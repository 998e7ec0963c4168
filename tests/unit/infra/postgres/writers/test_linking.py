import random
from dataclasses import replace

import pytest

from appliance.infra.postgres.writers.linking import Call, Result, call_key, id_key, links

KEY = "ada"


def called(sequence: int, arguments: str = "{}", *, name: str = "look", **changes: object) -> Call:
    """At second `sequence` too, of an exchange of its own."""
    made = Call(
        event_id=f"c{sequence}",
        trace_id=f"t{sequence}",
        id_key=id_key(KEY, "call_0"),
        call_key=call_key(KEY, "call_0", name, arguments),
        name=name,
        index=0,
        sequence=sequence,
        at=float(sequence),
        taken=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def returned(
    sequence: int, arguments: str = "{}", *, name: str = "look", **changes: object
) -> Result:
    made = Result(
        event_id=f"r{sequence}",
        trace_id=f"t{sequence}",
        id_key=id_key(KEY, "call_0"),
        call_key=call_key(KEY, "call_0", name, arguments),
        name=name,
        vague=not arguments,
        sequence=sequence,
        at=float(sequence),
        call_event_id=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": "é"}', '{"b":"\\u00e9","a":1.0}'),
        ("", "{}"),
        ("{", "{"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_arguments_that_mean_the_same_have_the_same_key(one: str, other: str) -> None:
    assert call_key(KEY, "a", "f", one) == call_key(KEY, "a", "f", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("k", "a", "f", "{}"), ("l", "a", "f", "{}")),
        (("k", "a", "f", "{}"), ("k", "b", "f", "{}")),
        (("k", "a", "f", "{}"), ("k", "a", "g", "{}")),
        (("k", "a", "f", "1"), ("k", "a", "f", "true")),
        (("k", "a", "f", '"1"'), ("k", "a", "f", "1")),
        (("k", "af", "", "{}"), ("k", "a", "f", "{}")),
        (("k", "a", "f", '{"text":"x"}'), ("k", "a", "f", "x")),
        (("k", "a", "f", '{"a":[1,2]}'), ("k", "a", "f", '{"a":[2,1]}')),
    ],
)
def test_what_differs_has_another_key(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    assert call_key(*one) != call_key(*other)


def test_a_result_takes_the_newest_open_call_before_it() -> None:
    calls = [called(1), called(2), called(5)]
    assert links(calls, [returned(3), returned(4)]) == {"r3": "c2", "r4": "c1"}


def test_a_result_that_is_sent_again_does_not_take_a_later_call() -> None:
    assert links([called(1), called(4)], [returned(2), returned(3)]) == {"r2": "c1", "r3": None}


@pytest.mark.parametrize(("sequence", "at"), [(1, 9.0), (9, 1.0)])
def test_the_stream_or_the_clock_tells_that_a_call_came_before(sequence: int, at: float) -> None:
    call = called(5)
    assert links([call], [returned(sequence, at=at)]) == {f"r{sequence}": "c5"}


def test_a_result_that_knows_all_goes_before_one_that_does_not() -> None:
    vague, known = returned(2, ""), returned(3, '{"a":1}')
    assert links([called(1, '{"a":1}')], [vague, known]) == {"r2": None, "r3": "c1"}


@pytest.mark.parametrize(("name", "call"), [("", "c2"), ("look", "c1"), ("smell", None)])
def test_a_vague_result_goes_by_id_and_by_name_where_it_has_one(
    name: str, call: str | None
) -> None:
    calls = [called(1, '{"a":1}'), called(2, '{"a":2}', name="hear")]
    assert links(calls, [returned(3, "", name=name)]) == {"r3": call}


def test_links_to_rows_that_are_not_there_stay() -> None:
    calls = [called(1), called(2, taken=True)]
    linked = returned(3, call_event_id="gone")
    assert links(calls, [linked, returned(4)]) == {"r4": "c1"}


def test_what_was_linked_in_another_order_is_linked_anew() -> None:
    calls = [called(1, taken=True), called(2)]
    late = returned(4, call_event_id="c1")
    assert links(calls, [late, returned(3)]) == {"r3": "c2", "r4": "c1"}
    assert links(calls, [replace(late, call_event_id="c1")]) == {"r4": "c2"}


def test_links_do_not_depend_on_the_order_of_what_is_given_nor_on_links_before() -> None:
    chance = random.Random(4)
    calls = [called(n, chance.choice(["{}", '{"a":1}'])) for n in range(0, 90, 3)]
    results = [returned(n, chance.choice(["{}", '{"a":1}', ""])) for n in range(1, 90, 2)]
    expected = links(calls, results)
    assert sum(call is not None for call in expected.values()) > 15
    for _ in range(20):
        half = links(chance.sample(calls, 20), chance.sample(results, 30))
        taken = set(half.values())
        before = [replace(r, call_event_id=half.get(r.event_id)) for r in results]
        held = [replace(c, taken=c.event_id in taken) for c in calls]
        again = links(chance.sample(held, len(held)), chance.sample(before, len(before)))
        assert again == expected
