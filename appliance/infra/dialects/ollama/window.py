"""How large a context window Ollama is asked for.  Used by the Ollama client; no I/O.

Ollama loads a model with the window of the request, 4096 tokens on most machines where none is
named, and cuts what does not fit.  So every request names one (`options.num_ctx`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.domain.conversation.estimate import estimate_input_tokens
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.usage import count_of
from appliance.domain.errors import ContextLengthExceeded

SMALLEST = 4096
UNKNOWN_LIMIT = 32768  # for a model that does not tell what it was trained for
ROOM_FOR_AN_ANSWER = 4096  # where the request sets no limit to it
MARGIN = 1.25  # the prompt's length is an estimate
CLEARLY_BEYOND = 1.5  # times the limit, by the same estimate
KEPT_MODELS = 256
_NUM_CTX = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What /api/show tells of a model; zeros and empty where it does not."""

    context_length: int = 0  # tokens it was trained for
    num_ctx: int = 0  # the window its Modelfile sets
    family: str = ""


def facts_of(shown: Mapping[str, Any]) -> ModelFacts:
    """Reads an answer of /api/show; whatever is not as it should be counts as not told."""
    info, details = shown.get("model_info"), shown.get("details")
    info = info if isinstance(info, Mapping) else {}
    family = details.get("family") if isinstance(details, Mapping) else ""
    length = info.get(f"{info.get('general.architecture')}.context_length")
    lines = _NUM_CTX.search(str(shown.get("parameters") or ""))
    return ModelFacts(
        context_length=count_of(length) or 0,
        num_ctx=int(lines[1]) if lines else 0,
        family=family if isinstance(family, str) else "",
    )


class Windows:
    """The window of each model of one backend.

    Ollama loads a model anew whenever its window changes, which takes seconds and drops its prompt
    cache.  So a model's window only grows while we run, in powers of two: a conversation that
    reaches 32768 tokens has paid for three loads, and a short request after it for none.
    """

    def __init__(self, configured: int) -> None:
        """`configured` (`[[backends]] num_ctx`) is used for every request; 0: as needed."""
        self._configured = configured
        self._largest: dict[str, int] = {}

    def choose(self, request: ChatRequest, model: str, facts: ModelFacts) -> int:
        """Tokens for `options.num_ctx`.  Raises ContextLengthExceeded for a prompt that cannot
        fit by any reading of the estimate."""
        limit = self._limit(facts)
        estimate = estimate_input_tokens(request)
        if estimate > limit * CLEARLY_BEYOND:
            raise ContextLengthExceeded(
                f"The prompt has about {estimate} tokens (an estimate) and the context window of "
                f"{model} has {limit}.",
                param="messages",
            )
        if self._configured:
            return self._configured
        answer = request.options.max_output_tokens or ROOM_FOR_AN_ANSWER
        needed = int(estimate * MARGIN) + max(0, answer)
        known = max(SMALLEST, facts.num_ctx, self._largest.get(model, 0))
        return self._keep(model, min(limit, max(known, _power_of_two(needed))))

    def grown(self, model: str, refused: int, facts: ModelFacts) -> int:
        """The next larger window after one of `refused` tokens was too small; 0 when there is
        none."""
        if self._configured or refused >= self._limit(facts):
            return 0
        larger = min(self._limit(facts), _power_of_two(refused + 1))
        return self._keep(model, max(larger, self._largest.get(model, 0)))

    def _limit(self, facts: ModelFacts) -> int:
        return self._configured or facts.context_length or max(UNKNOWN_LIMIT, facts.num_ctx)

    def _keep(self, model: str, window: int) -> int:
        if model not in self._largest and len(self._largest) >= KEPT_MODELS:
            self._largest.clear()
        self._largest[model] = window
        return window


def _power_of_two(tokens: int) -> int:
    """The smallest one that is not below `tokens`."""
    return 1 << max(0, tokens - 1).bit_length()
