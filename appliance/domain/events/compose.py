"""Event of composing a prompt: what was injected, and what was cut and why."""

from typing import Any

from appliance.domain.events.exchange import Exchange

COMPOSE = "pipeline.knowledge.compose"


class Compose:
    """Sources by name, with the tokens they take; their text is in the document store."""

    schema = "knowledge.compose/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that looked knowledge up."""
        retrieval = exchange.retrieval
        if retrieval is None:
            return ()
        return (
            {
                "workspace": retrieval.workspace,
                "context_window": retrieval.context_window,
                "room_tokens": retrieval.room_tokens,
                "used_tokens": sum(hit.tokens for hit in retrieval.hits),
                "injected": retrieval.hits,
                "cut": retrieval.cut,
                "messages_before": len(exchange.messages),
                "messages_after": exchange.message_count or len(exchange.messages),
                "dropped": exchange.dropped,
                "degraded": retrieval.degraded,
                "project": exchange.project,
                "key_name": exchange.key_name,
            },
        )
