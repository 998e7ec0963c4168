"""Telemetry of a routing decision."""

from typing import Any

from appliance.domain.events.exchange import Exchange
from appliance.domain.events.feedback import OPERATION as FEEDBACK

ROUTE = "telemetry.knowledge.route"


class Route:
    """What a name became, who could have answered, and who was asked in vain."""

    schema = "knowledge.route/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for every exchange, also for one that found no model; none for feedback,
        which looked for none."""
        if exchange.operation == FEEDBACK:
            return ()
        return (
            {
                "gen_ai.operation.name": exchange.operation,
                "gen_ai.request.model": exchange.request_model,
                "selected_model": exchange.selected_model,
                "backend": exchange.backend,
                "router_reason": exchange.router_reason,
                "route": exchange.route,
                "candidates": exchange.candidates,
                "attempts": exchange.attempts,
                "status": exchange.status,
                "error.type": exchange.error_type,
            },
        )
