"""Scores texts by the words that are in them.  A Moderator (../ports.py) without a model.

Every phrase of a table has a weight; a category's score is 1 - (1 - w1)(1 - w2)… over the phrases
found, each counted once, at its strongest.  Negated, quoted and framed ones (a novel, a game, a
report) count for less.  A category is flagged from 0.5 on: one LIKELY phrase, or two HINTs.

It reads English alone, sees no image, and knows no context, irony, allusion or spelling that is not
in a table; whoever wants to get past it does.  A help for sorting, no barrier.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from appliance.domain.errors import InvalidRequest, RequestTooLarge
from appliance.domain.identity import Identity
from appliance.domain.moderation.lexicon import (
    harassment,
    hate,
    illicit,
    self_harm,
    sexual,
    violence,
)
from appliance.domain.moderation.lexicon.phrases import Found, Phrase, find, phrase
from appliance.domain.moderation.lexicon.sentences import Sentence, portions, sentences
from appliance.domain.moderation.lexicon.words import FRAMES, IDIOMS, NEGATIONS, SETS
from appliance.domain.moderation.ports import CATEGORIES, Moderated, ModerationInput, Verdict

MODEL: Final = "lexicon-en-1"
FLAGGED_FROM: Final = 0.5
MAX_CHARS: Final = 250_000  # of one request
TABLES: Final = (harassment.TABLE, hate.TABLE, illicit.TABLE, self_harm.TABLE, sexual.TABLE,
                 violence.TABLE)  # fmt: skip
# A category is at least as likely as the worse one within it.
WITHIN: Final[Mapping[str, str]] = {
    "harassment/threatening": "harassment",
    "hate/threatening": "hate",
    "illicit/violent": "illicit",
    "self-harm/intent": "self-harm",
    "self-harm/instructions": "self-harm",
    "sexual/minors": "sexual",
    "violence/graphic": "violence",
}
# No story and no game makes these less so.
NEVER_FRAMED: Final = frozenset({"sexual/minors"})
_NEGATED, _QUOTED, _FRAMED = 0.3, 0.6, 0.5
_LOOK_BACK = 3  # words before a phrase in which a negation is of it
_MASK = "_"
_OPENAIS = ("omni-moderation-", "text-moderation-")
_APPLIED: Mapping[str, tuple[str, ...]] = dict.fromkeys(CATEGORIES, ("text",))


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A phrase of a table: how sure it makes of its category, from 0 to 1; `needed` are the sets of
    which a sentence must have a word.  Equal to itself alone."""

    category: str
    weight: float
    steps: Phrase
    needed: tuple[frozenset[str], ...]


Index = Mapping[str, Sequence[Rule]]  # rules by the words they may begin with


class Lexicon:
    """The tables, ready to be looked up."""

    name = MODEL

    def __init__(self) -> None:
        self._rules = _index(
            _rule(text, category, weight)
            for table in TABLES
            for category, rows in table.items()
            for weight, text in rows
        )
        self._idioms = _index(map(_rule, IDIOMS))

    def serves(self, model: str) -> bool:
        """See Moderator.serves: its own name and OpenAI's, which clients send by default."""
        return model in ("", MODEL) or model.startswith(_OPENAIS)

    async def score(
        self,
        inputs: Sequence[ModerationInput],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity,
    ) -> Moderated:
        """See Moderator.score.  An input of images alone is an error: to call unflagged what nobody
        looked at would be a lie."""
        for each in inputs:
            if not each.texts:
                raise InvalidRequest(
                    f"{MODEL} reads text alone and sees no images: send a text with it, or "
                    "configure a remote moderator ([moderation] url)",
                    param="input",
                    code="image_not_supported",
                )
        if sum(len(text) for each in inputs for text in each.texts) > MAX_CHARS:
            raise RequestTooLarge(
                f"{MODEL} reads at most {MAX_CHARS} characters in one request", param="input"
            )
        verdicts = tuple([verdict(await self._scores(each.texts)) for each in inputs])
        return Moderated(MODEL, verdicts, backend=MODEL, provider="lexicon")

    async def _scores(self, texts: Sequence[str]) -> dict[str, float]:
        """By category; others get their turn between portions."""
        strongest: dict[Rule, float] = {}
        for portion in chain.from_iterable(map(portions, texts)):
            for sentence in sentences(portion):
                for rule, weight in self.matches(sentence):
                    strongest[rule] = max(weight, strongest.get(rule, 0.0))
            await asyncio.sleep(0)
        return combined(strongest)

    def matches(self, sentence: Sentence) -> Iterator[tuple[Rule, float]]:
        """Each rule that is met, with the weight it has there."""
        words = self._masked(sentence.words)
        framed = not FRAMES.isdisjoint(words)
        for rule, found in _met(self._rules, words):
            weight = rule.weight
            if rule.category not in NEVER_FRAMED:
                weight *= _FRAMED if framed else 1.0
                weight *= _QUOTED if sentence.quoted[found.begin] else 1.0
            yield rule, weight * (_NEGATED if negated(words, found) else 1.0)

    def _masked(self, words: list[str]) -> list[str]:
        """`words` without those of harmless idioms."""
        masked = words.copy()
        for _, found in _met(self._idioms, words):
            masked[found.begin : found.end] = [_MASK] * (found.end - found.begin)
        return masked


def _met(rules: Index, words: Sequence[str]) -> Iterator[tuple[Rule, Found]]:
    """Each rule with each place where its phrase is.  Those that miss a word are left out first:
    without that a text made for it takes ten times as long."""
    present = frozenset(words)
    likely = {
        word: [rule for rule in rules[word] if not any(map(present.isdisjoint, rule.needed))]
        for word in present & rules.keys()
    }
    for begin, word in enumerate(words):
        for rule in likely.get(word, ()):
            if found := find(rule.steps, words, begin):
                yield rule, found


def negated(words: Sequence[str], found: Found) -> bool:
    """True when a negation stands before or within the phrase; not beyond a comma."""
    before = list(words[max(0, found.begin - _LOOK_BACK) : found.begin])
    if "," in before:
        before = before[len(before) - before[::-1].index(",") :]
    within = (words[position] for position in found.between)
    return not NEGATIONS.isdisjoint(before) or not NEGATIONS.isdisjoint(within)


def combined(met: Mapping[Rule, float]) -> dict[str, float]:
    """The score of every category from the rules that were met and their weights."""
    unlikely = dict.fromkeys(CATEGORIES, 1.0)
    for rule, weight in met.items():
        unlikely[rule.category] *= 1.0 - weight
    scores = {category: round(1.0 - left, 4) for category, left in unlikely.items()}
    for inner, outer in WITHIN.items():
        scores[outer] = max(scores[outer], scores[inner])
    return scores


def verdict(scores: Mapping[str, float]) -> Verdict:
    """What the scores of one text come to."""
    categories = {category: score >= FLAGGED_FROM for category, score in scores.items()}
    return Verdict(any(categories.values()), categories, scores, _APPLIED)


def _rule(text: str, category: str = "", weight: float = 0.0) -> Rule:
    steps = phrase(text, SETS)
    needed = tuple(step.words for step in steps if step.words and not step.optional)
    return Rule(category, weight, steps, needed)


def _index(rules: Iterable[Rule]) -> Index:
    found: defaultdict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        for word in rule.steps[0].words:
            found[word].append(rule)
    return dict(found)
