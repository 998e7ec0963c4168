"""Which pairs stay out of a dataset, and why.  Of several reasons the first counts, in the order of
EXCLUSIONS; pure."""

from collections.abc import Callable, Mapping
from typing import Protocol

from appliance.domain.datasets.pair import Pair, chars
from appliance.domain.events.exchange import Store

WITHHELD = "withheld"
LANGUAGE = "language"
UNTOLD = "und"  # ISO 639: a language nobody can tell
FORGOTTEN = "forgotten"
EXACT, NEAR = "exact_duplicate", "near_duplicate"


class Rules(Protocol):
    """What is read of `[dataset]`; an empty list lets everything through."""

    @property
    def finish_reasons(self) -> tuple[str, ...]: ...
    @property
    def tool_calls(self) -> bool: ...
    @property
    def min_prompt_chars(self) -> int: ...
    @property
    def max_prompt_chars(self) -> int: ...
    @property
    def min_response_chars(self) -> int: ...
    @property
    def max_response_chars(self) -> int: ...
    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def projects(self) -> tuple[str, ...]: ...
    @property
    def models(self) -> tuple[str, ...]: ...
    @property
    def min_rating(self) -> int: ...
    @property
    def rated_only(self) -> bool: ...


Exclusion = Callable[[Pair, Rules], bool]


def _withheld(pair: Pair, _: Rules) -> bool:
    """Nothing of it was kept: a call without arguments has `{}`."""
    arguments = (call["function"]["arguments"] for call in pair.tool_calls)
    return not (pair.prompt or pair.response or any(arguments))


def _obstacle(name: str) -> Exclusion:
    return lambda pair, _: pair.obstacle == name


def _prompt_length(pair: Pair, rules: Rules) -> bool:
    """Of all that stands before the response."""
    if pair.obstacle == "prompt_length":
        return True
    return not rules.min_prompt_chars <= chars(pair.messages) <= rules.max_prompt_chars


def _response_length(pair: Pair, rules: Rules) -> bool:
    return not rules.min_response_chars <= chars([pair.answer]) <= rules.max_response_chars


EXCLUSIONS: Mapping[str, Exclusion] = {
    WITHHELD: _withheld,  # [privacy] kept no text of it
    "completion": _obstacle("completion"),  # continues a text instead of answering it
    "finish_reason": lambda pair, rules: _outside(pair.finish_reason, rules.finish_reasons),
    "tool_calls": lambda pair, rules: bool(pair.tool_calls) and not rules.tool_calls,
    "no_messages": _obstacle("no_messages"),  # chat_history has none of it any more
    "media": _obstacle("media"),  # asks about an image or a file that is not in the dataset
    "unsupported": _obstacle("unsupported"),  # messages OpenAI's format has no words for
    "prompt_length": _prompt_length,
    "response_length": _response_length,
    "project": lambda pair, rules: _outside(pair.project, rules.projects),
    "model": lambda pair, rules: _outside(pair.model, rules.models),
    "rating": lambda pair, rules: pair.rating is not None and pair.rating < rules.min_rating,
    "unrated": lambda pair, rules: rules.rated_only and pair.rating is None,
}
# All there are, in the order they are looked at: what takes longest comes last.
REASONS = (*EXCLUSIONS, LANGUAGE, EXACT, NEAR, FORGOTTEN)


def excluded(pair: Pair, rules: Rules, store: Store) -> str:
    """The name of the first reason against it; empty when there is none.  Not about its language.

    Under `[privacy]` metadata and none no text is put into a file, whenever it was kept.
    """
    if store != "full":
        return WITHHELD
    return next((name for name, against in EXCLUSIONS.items() if against(pair, rules)), "")


def _outside(value: str | None, allowed: tuple[str, ...]) -> bool:
    return bool(allowed) and value not in allowed
