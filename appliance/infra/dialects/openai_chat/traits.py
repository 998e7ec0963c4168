"""What servers of OpenAI's wire disagree about, as data: one Traits a kind, read while a request is
written.  Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.domain.conversation.options import ReasoningOptions

# The fields of Options every server of this wire is asked for.
OPTIONS = frozenset(
    {
        "max_output_tokens",
        "temperature",
        "top_p",
        "stop",
        "suffix",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "logprobs",
        "top_logprobs",
        "user",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
    }
)
REASONING_FIELDS = ("reasoning_content", "reasoning")
_LOW_BELOW_TOKENS = 2048
_MEDIUM_BELOW_TOKENS = 8192


def _nothing(_: ReasoningOptions) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Traits:
    """`carries`: the Options fields it can be asked for; `reasoning_fields`: the names under which
    it wants reasoning of earlier turns back, none at all where it refuses them.

    `max_tool_name` in characters of [a-zA-Z0-9_-], 0 where any name will do; `tool_schema` makes a
    tool's JSON schema fit where only a part of the standard is read; `reasoning` gives the body
    fields for a wish to think.
    """

    carries: frozenset[str] = OPTIONS
    reasoning_fields: tuple[str, ...] = REASONING_FIELDS
    knows_developer: bool = False
    knows_refusals: bool = False  # of earlier turns, as what they are
    reads_files: bool = False
    takes_call_extras: bool = True  # what a backend of this wire wanted back with its tool calls
    max_tool_name: int = 0
    max_tokens: str = "max_tokens"
    tool_schema: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    reasoning: Callable[[ReasoningOptions], Mapping[str, Any]] = _nothing


def reasoning_effort(wish: ReasoningOptions) -> Mapping[str, Any]:
    """`reasoning_effort`: as named, else after the budget of tokens.

    Nothing for a wish to think or not without a measure: models that cannot do it refuse the field,
    and some that always think refuse `none`.
    """
    if wish.effort:
        return {"reasoning_effort": wish.effort}
    if wish.enabled is False or not wish.budget_tokens:
        return {}
    if wish.budget_tokens < _LOW_BELOW_TOKENS:
        return {"reasoning_effort": "low"}
    medium = wish.budget_tokens < _MEDIUM_BELOW_TOKENS
    return {"reasoning_effort": "medium" if medium else "high"}


def template_switch(wish: ReasoningOptions) -> Mapping[str, Any]:
    """The switch that templates of Qwen, GLM and DeepSeek read; the others ignore it.

    Only where the client said yes or no: the template's own default is the model's.
    """
    enabled = False if wish.effort == "none" else wish.enabled
    if enabled is None:
        return {}
    return {"chat_template_kwargs": {"enable_thinking": enabled}}
