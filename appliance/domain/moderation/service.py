"""Moderation for callers, each call with its record.  Called by `transport/moderations.py`.

What was judged and what was found in it is not kept: the record counts inputs and flags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import ModelNotFound
from appliance.domain.events.exchange import Exchange, Moderation
from appliance.domain.events.recorder import Call, Recorder, answered
from appliance.domain.identity import Identity
from appliance.domain.moderation.ports import Moderated, ModerationInput, Moderator

OPERATION = "moderation"


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """`params` are fields that only a moderator of the same wire knows."""

    model: str
    inputs: tuple[ModerationInput, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    extensions: Extensions = field(default_factory=Extensions)


class ModerationService:
    """Asks the first of `moderators` that serves the model; every call is recorded before its
    answer leaves."""

    def __init__(self, moderators: Sequence[Moderator], recorder: Recorder) -> None:
        self._moderators = tuple(moderators)
        self._recorder = recorder

    async def moderate(self, request: ModerationRequest, caller: Caller) -> Moderated:
        """Raises ModelNotFound, what Moderator.score raises, what Recorder.run raises."""
        return await self._recorder.run(
            Call(OPERATION, request.model, caller, request.extensions),
            partial(self._score, request, caller.identity),
            partial(_describe, request),
        )

    async def _score(self, request: ModerationRequest, identity: Identity) -> Moderated:
        moderator = self._moderator(request.model)
        return await moderator.score(request.inputs, request.model, request.params, identity)

    def _moderator(self, model: str) -> Moderator:
        for moderator in self._moderators:
            if moderator.serves(model):
                return moderator
        names = ", ".join(moderator.name for moderator in self._moderators)
        raise ModelNotFound(
            f"The moderation model {model!r} does not exist here: leave it out, or ask for "
            f"omni-moderation-latest; either is answered by {names}.",
            param="model",
            code="model_not_found",
        )


def _describe(request: ModerationRequest, exchange: Exchange, made: Moderated | None) -> None:
    flagged = 0
    if made is not None:
        answered(exchange, made.model, made.backend, made.provider)
        flagged = sum(verdict.flagged for verdict in made.verdicts)
    exchange.moderation = Moderation(
        exchange.selected_model, len(request.inputs), flagged, exchange.duration_s
    )
