"""Phrases of the tables, and where a sentence has them.  Pure; called by moderator.py.

    "kill .. <person>"

A word stands for itself, `a/b` for either, `<name>` for any word of that set in words.py, `word?`
may be missing, and `..` is up to three words of any sort.  A phrase begins with a word.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MOST_BETWEEN: Final = 3
GAP = ".."


@dataclass(frozen=True, slots=True)
class Step:
    """One of `words`; any at all, up to MOST_BETWEEN of them, when there are none."""

    words: frozenset[str]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Where a phrase is: words `begin` up to `end`, and the positions of those its gaps took."""

    begin: int
    end: int
    between: tuple[int, ...]


Phrase = tuple[Step, ...]


def phrase(text: str, sets: Mapping[str, frozenset[str]]) -> Phrase:
    """Raises ValueError for one that does not begin with a word, KeyError for an unknown set."""
    steps = tuple(_step(word, sets) for word in text.split())
    if not steps or steps[0].optional or not steps[0].words:
        raise ValueError(f"the phrase {text!r} does not begin with a word")
    return steps


def find(steps: Phrase, words: Sequence[str], begin: int) -> Found | None:
    """`steps` in `words` from `begin` on, with as few words between as possible."""
    taken = _taken(steps, words, begin, ())
    return None if taken is None else Found(begin, *taken)


def split(lines: Iterable[str]) -> frozenset[str]:
    """The words of several lines."""
    return frozenset(word for line in lines for word in line.split())


def _step(word: str, sets: Mapping[str, frozenset[str]]) -> Step:
    if word == GAP:
        return Step(frozenset())
    optional = word.endswith("?")
    found: set[str] = set()
    for each in word.removesuffix("?").split("/"):
        found |= sets[each[1:-1]] if each.startswith("<") else {each}
    return Step(frozenset(found), optional)


def _taken(
    steps: Phrase, words: Sequence[str], at: int, between: tuple[int, ...]
) -> tuple[int, tuple[int, ...]] | None:
    if not steps:
        return at, between
    first, rest = steps[0], steps[1:]
    if not first.words:
        last = min(at + MOST_BETWEEN, len(words))
        tries = (_taken(rest, words, n, (*between, *range(at, n))) for n in range(at, last + 1))
        return next((found for found in tries if found is not None), None)
    if at < len(words) and words[at] in first.words:
        found = _taken(rest, words, at + 1, between)
        if found is not None or not first.optional:
            return found
    return _taken(rest, words, at, between) if first.optional else None
