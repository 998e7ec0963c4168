"""Event of feedback: what a caller says of an earlier answer.

The request that brings it is an exchange of its own (operation `feedback`, its own ids), which has
this event and no other: it asked no model, and was routed nowhere.
"""

from typing import Any

from appliance.domain.events.exchange import Exchange

FEEDBACK = "pipeline.knowledge.feedback"
OPERATION = "feedback"


class FeedbackGiven:
    """`rated_trace_id` is the exchange it is about, `key_name` who says so: it need not be who
    asked."""

    schema = "knowledge.feedback/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that brought feedback."""
        feedback = exchange.feedback
        if feedback is None:
            return ()
        return (
            {
                "rated_trace_id": feedback.rated_trace_id,
                "rating": feedback.rating,
                "comment": feedback.comment,
                "project": exchange.project,
                "key_name": exchange.key_name,
            },
        )
