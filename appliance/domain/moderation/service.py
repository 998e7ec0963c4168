"""Moderation for callers, each call with its record: finished, failed and cancelled ones.

Called by `transport/moderations.py`.  What was judged and what was found in it is not kept: the
record counts inputs and flags.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import BackendError, ModelNotFound, PartUnavailable
from appliance.domain.events.exchange import Exchange, Moderation, Status
from appliance.domain.events.ports import ExchangeSink
from appliance.domain.moderation.ports import Moderated, ModerationInput, Moderator

OPERATION = "moderation"


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """`params` are fields that only a moderator of the same wire knows."""

    model: str
    inputs: tuple[ModerationInput, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    extensions: Extensions = field(default_factory=Extensions)


@dataclass(frozen=True, slots=True)
class _Call:
    request: ModerationRequest
    caller: Caller
    wall: float
    started: float


class ModerationService:
    """Asks the first of `moderators` that serves the model, and hands a record to `sinks` before
    the answer leaves."""

    def __init__(
        self,
        moderators: Sequence[Moderator],
        sinks: tuple[ExchangeSink, ...],
        *,
        clock: Clock,
        host: str,
        status_of: Callable[[Exception | None], int],
        unkept: Callable[[], str] | None = None,
    ) -> None:
        """`unkept`: see ChatService."""
        self._moderators = tuple(moderators)
        self._sinks = sinks
        self._clock = clock
        self._host = host
        self._status_of = status_of
        self._unkept = unkept

    async def moderate(self, request: ModerationRequest, caller: Caller) -> Moderated:
        """Raises ModelNotFound, what Moderator.score raises, and PartUnavailable where a call must
        be kept and cannot be."""
        call = _Call(request, caller, self._clock.wall(), self._clock.monotonic())
        status: Status = "cancelled"
        made: Moderated | None = None
        error: Exception | None = None
        try:
            if self._unkept is not None and (why := self._unkept()):
                raise PartUnavailable(f"nothing new can be kept: {why}", part="spool")
            moderator = self._moderator(request.model)
            made = await moderator.score(
                request.inputs, request.model, request.params, caller.identity
            )
            status = "finished"
            return made
        except Exception as exc:
            status, error = "failed", exc
            raise
        finally:
            self._record(call, status, made, error)

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

    def _record(
        self, call: _Call, status: Status, made: Moderated | None, error: Exception | None
    ) -> None:
        exchange = self._exchange(call, status, made, error)
        kept = [sink.keep(exchange) for sink in self._sinks]
        if self._unkept is not None and status == "finished" and not all(kept):
            raise PartUnavailable("this exchange could not be kept", part="spool")

    def _exchange(
        self, call: _Call, status: Status, made: Moderated | None, error: Exception | None
    ) -> Exchange:
        request, ids = call.request, call.caller.identity
        took_s = self._clock.monotonic() - call.started
        model = made.model if made is not None else ""
        failed_on = error.backend if isinstance(error, BackendError) else ""
        flagged = sum(verdict.flagged for verdict in made.verdicts) if made is not None else 0
        return Exchange(
            trace_id=ids.trace_id,
            correlation_id=ids.correlation_id,
            conversation_id=request.extensions.conversation or ids.correlation_id,
            occurred_at=call.wall,
            host=self._host,
            status=status,
            http_status=200 if status == "finished" else self._status_of(error),
            operation=OPERATION,
            surface=call.caller.surface,
            route=OPERATION,
            request_model=request.model,
            selected_model=model or request.model,
            response_model=model,
            backend=made.backend if made is not None else failed_on,
            provider=made.provider if made is not None else "",
            duration_s=took_s,
            moderation=Moderation(model or request.model, len(request.inputs), flagged, took_s),
            error_type=type(error).__name__ if error else "",
            error_message=str(error)[:2000] if error else "",
            project=request.extensions.project,
            key_name=call.caller.key.name if call.caller.key else "",
        )
