"""Take what a caller says of an earlier answer.  Called by `transport/feedback.py`.

It is handed to the sinks, the spool among them, as an exchange of its own before its answer leaves,
and becomes a row behind it.  Nobody looks up what it rates: PostgreSQL is not asked in a request,
and the exchange may still be on its way there.
"""

from collections.abc import Callable

from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import InvalidRequest
from appliance.domain.events.exchange import Exchange, Feedback, Store
from appliance.domain.events.feedback import OPERATION
from appliance.domain.events.ledger import Ledger
from appliance.domain.identity import began_s

# Gateways of one name have a clock each, and so has who tells of them.
CLOCKS_S = 300.0
KEPT_STATUS = 202


class FeedbackService:
    """`store` is `[privacy] store`: under `none` the ledger is told, and nothing is stored."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        wall: Callable[[], float],
        host: str,
        store: Store,
    ) -> None:
        """`wall` gives Unix seconds."""
        self._ledger = ledger
        self._wall = wall
        self._host = host
        self._store: Store = store

    def take(self, feedback: Feedback, caller: Caller, extensions: Extensions) -> bool:
        """Whether it will be stored.

        Raises InvalidRequest for a rated exchange that has not begun yet, and PartUnavailable where
        feedback must be kept and cannot be.
        """
        now = self._wall()
        _require_past(feedback.rated_trace_id, caller.identity.trace_id, now)
        self._ledger.require_room()
        kept = self._ledger.keep(self._exchange(feedback, caller, extensions, now))
        return kept and self._store != "none"

    def _exchange(
        self, feedback: Feedback, caller: Caller, extensions: Extensions, now: float
    ) -> Exchange:
        ids = caller.identity
        return Exchange(
            trace_id=ids.trace_id,
            correlation_id=ids.correlation_id,
            conversation_id=extensions.conversation or ids.correlation_id,
            occurred_at=now,
            host=self._host,
            status="finished",
            http_status=KEPT_STATUS,
            operation=OPERATION,
            surface=caller.surface,
            route=OPERATION,
            project=extensions.project,
            key_name=caller.key.name if caller.key else "",
            feedback=feedback,
        )


def _require_past(rated: str, own: str, now: float) -> None:
    """Raise InvalidRequest when `rated` is no trace id, or of a time that has not come.  Ids of
    this gateway are no later than `own`, also after its clock was set back."""
    began = began_s(rated)
    if began is None:
        raise InvalidRequest(
            "trace_id must be the `x-request-id` of an answer: 32 hexadecimal digits",
            param="trace_id",
        )
    if began > max(now, began_s(own) or 0.0) + CLOCKS_S:
        raise InvalidRequest(
            "trace_id is of a time that has not come: no answer of ours has it. Take it from the "
            "answer's `x-request-id`; the id in a body may be the backend's own",
            param="trace_id",
        )
