"""The two events of a chat exchange: everything for the pipeline, measures alone for telemetry.

Field names are OpenTelemetry's GenAI attributes where it has one.
"""

from typing import Any

from appliance.domain.events.exchange import Exchange, Retrieval

PERSIST = "pipeline.knowledge.chat.persist"
TELEMETRY = "telemetry.knowledge.chat"
OPERATIONS = frozenset({"chat", "text_completion"})


class ChatPersist:
    """The whole exchange: what was asked, what was answered, and how it came about."""

    schema = "knowledge.chat.persist/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange with a language model, none for another operation."""
        if exchange.operation not in OPERATIONS:
            return ()
        payload = _measures(exchange)
        payload["router_reason"] = exchange.router_reason
        payload["candidates"] = exchange.candidates
        payload["key_name"] = exchange.key_name
        payload["error.message"] = exchange.error_message
        payload["messages"] = exchange.messages
        payload["params"] = exchange.params
        payload["dropped"] = exchange.dropped
        payload["answer"] = exchange.answer
        payload["reasoning"] = exchange.reasoning
        payload["tool_calls"] = exchange.tool_calls
        payload["attempts"] = exchange.attempts
        payload["retrieval"] = _sources(exchange.retrieval)
        return (payload,)


class ChatTelemetry:
    """Counts, durations and names; nothing a person or a model wrote.  `message_count` is of those
    the client sent."""

    schema = "knowledge.chat/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange with a language model, none for another operation."""
        if exchange.operation not in OPERATIONS:
            return ()
        payload = _measures(exchange)
        payload["message_count"] = len(exchange.messages)
        payload["tool_call_count"] = len(exchange.tool_calls)
        payload["attempt_count"] = len(exchange.attempts)
        payload["retrieval"] = _retrieval_measures(exchange.retrieval)
        return (payload,)


def _measures(exchange: Exchange) -> dict[str, Any]:
    reason = exchange.finish_reason
    return {
        "gen_ai.operation.name": exchange.operation,
        "gen_ai.provider.name": exchange.provider,
        "gen_ai.request.model": exchange.request_model,
        "gen_ai.response.model": exchange.response_model,
        "gen_ai.response.finish_reasons": (reason,) if reason else (),
        "gen_ai.usage.input_tokens": exchange.input_tokens,
        "gen_ai.usage.output_tokens": exchange.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": exchange.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": exchange.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": exchange.reasoning_tokens,
        "status": exchange.status,
        "http_status": exchange.http_status,
        "surface": exchange.surface,
        "stream": exchange.stream,
        "route": exchange.route,
        "selected_model": exchange.selected_model,
        "backend": exchange.backend,
        "project": exchange.project,
        "duration_s": exchange.duration_s,
        "time_to_first_token_s": exchange.time_to_first_token_s,
        "error.type": exchange.error_type,
    }


def _sources(retrieval: Retrieval | None) -> dict[str, Any] | None:
    """What was injected, for the pair; the whole search is an event of its own."""
    if retrieval is None:
        return None
    return {
        "workspace": retrieval.workspace,
        "hits": retrieval.hits,
        "degraded": retrieval.degraded,
        "duration_s": retrieval.duration_s,
    }


def _retrieval_measures(retrieval: Retrieval | None) -> dict[str, Any] | None:
    if retrieval is None:
        return None
    return {
        "workspace": retrieval.workspace,
        "hit_count": len(retrieval.hits),
        "best_score": retrieval.hits[0].score if retrieval.hits else None,
        "degraded": retrieval.degraded,
        "duration_s": retrieval.duration_s,
    }
