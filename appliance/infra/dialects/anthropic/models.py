"""What Anthropic's list of models says of each: how much it answers, and which ways of thinking it
takes.  Read by client.py, used by request.py; pure.

Generations differ: up to 4.6 a model takes `thinking: enabled` with a budget; from Opus 4.7 on only
`adaptive` with an effort, and no sampling parameters, each a 400 otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.domain.conversation.usage import count_of

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING = ("enabled", "adaptive", "disabled")
_DATED = re.compile(r"-\d{8}\Z")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """None: the list does not say."""

    max_output_tokens: int | None = None
    thinking: frozenset[str] | None = None  # values of `thinking.type` it takes
    efforts: frozenset[str] | None = None  # values of `output_config.effort`
    structured: bool | None = None  # `output_config.format` and strict tools

    @property
    def adaptive(self) -> bool:
        """True when it is known to take adaptive thinking."""
        return self.thinking is not None and "adaptive" in self.thinking

    @property
    def takes_budget(self) -> bool:
        """True unless it is known to refuse a thinking budget."""
        return self.thinking is None or "enabled" in self.thinking

    @property
    def fixed_sampling(self) -> bool:
        """True for the generation that refuses temperature, top_p and top_k.  The list does not
        tell that itself; it is the one that takes adaptive thinking alone."""
        return self.adaptive and not self.takes_budget


UNKNOWN = ModelFacts()


def facts_of_row(row: Mapping[str, Any]) -> ModelFacts:
    """The facts of one row of `GET /v1/models`; anything odd in it counts as not said."""
    able = row.get("capabilities")
    if not isinstance(able, dict):
        return ModelFacts(count(row.get("max_tokens")))
    thinking = able.get("thinking")
    return ModelFacts(
        count(row.get("max_tokens")),
        _supported(thinking.get("types"), _THINKING) if isinstance(thinking, dict) else None,
        _supported(able.get("effort"), _EFFORTS),
        _flag(able.get("structured_outputs")),
    )


def facts_of(model: str, known: Mapping[str, ModelFacts]) -> ModelFacts:
    """The facts of `model`, which may be the alias of a dated one (claude-sonnet-4-5)."""
    if model in known:
        return known[model]
    dated = (known[name] for name in sorted(known) if _DATED.sub("", name) == model)
    return next(dated, UNKNOWN)


def count(value: Any) -> int | None:
    """A positive count, else None."""
    return count_of(value) or None


def _supported(table: Any, names: tuple[str, ...]) -> frozenset[str] | None:
    if not isinstance(table, dict):
        return None
    return frozenset(name for name in names if _flag(table.get(name)))


def _flag(capability: Any) -> bool | None:
    told = capability.get("supported") if isinstance(capability, dict) else None
    return told if isinstance(told, bool) else None
