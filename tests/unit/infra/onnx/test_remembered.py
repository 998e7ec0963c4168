"""What was made of a text is there when it comes again, within bounds."""

import itertools

from appliance.infra.onnx.encoder import Direction
from appliance.infra.onnx.remembered import Read, Remembered, keys


def key(text: str, *, truncate: bool = True, direction: Direction = "right") -> bytes:
    (made,) = keys([text], truncate=truncate, direction=direction)
    return made


def test_what_was_put_is_got_and_nothing_else() -> None:
    remembered = Remembered(2)
    remembered.put(key("a"), Read(b"1", 3))
    assert remembered.get(key("a")) == Read(b"1", 3)
    assert remembered.get(key("b")) is None


def test_the_one_unused_for_longest_is_forgotten_first() -> None:
    remembered = Remembered(2)
    for text in ("a", "b"):
        remembered.put(key(text), Read(text.encode(), 1))
    remembered.get(key("a"))
    remembered.put(key("c"), Read(b"c", 1))
    assert [bool(remembered.get(key(text))) for text in "abc"] == [True, False, True]


def test_one_that_is_read_again_is_the_newest() -> None:
    remembered = Remembered(2)
    for text in ("a", "b", "a", "c"):  # whoever asked for it at the same time has read it, too
        remembered.put(key(text), Read(text.encode(), 1))
    assert [bool(remembered.get(key(text))) for text in "abc"] == [True, False, True]


def test_a_key_is_of_the_text_and_of_how_it_is_cut() -> None:
    directions: tuple[Direction, ...] = ("left", "right")
    ways = itertools.product(("a", "b", "\ud800"), (True, False), directions)
    made = {key(text, truncate=cut, direction=way) for text, cut, way in ways}
    assert len(made) == 12
    assert key("a") == key("a")
