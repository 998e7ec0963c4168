"""Events of tools: each call a model makes, and each result when the next turn brings it.

A result names its call by id, name and arguments: the gateway keeps no state between two requests,
and ids of some servers repeat, so that whoever writes the rows puts both together.
"""

from collections.abc import Mapping
from typing import Any

from appliance.domain.events.exchange import Exchange, Returned

TOOL_CALL = "pipeline.knowledge.tool_call"
TELEMETRY = "telemetry.knowledge.tool_call"


class ToolCall:
    """`kind` is `result` for what the request brings, `call` for what its answer asks for."""

    schema = "knowledge.tool_call/1"

    @staticmethod
    def payloads(exchange: Exchange) -> list[dict[str, Any]]:
        """Results first, then calls, each in the order of the conversation."""
        if not exchange.tool_calls and not exchange.tool_results:
            return []
        shared = _shared(exchange)
        results = [_result(returned) | shared for returned in exchange.tool_results]
        return results + [
            _call(number, call) | shared for number, call in enumerate(exchange.tool_calls)
        ]


class ToolCallTelemetry:
    """Names of tools and sizes; neither arguments nor results."""

    schema = "knowledge.tool_call.telemetry/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange with calls or results."""
        if not exchange.tool_calls and not exchange.tool_results:
            return ()
        results = exchange.tool_results
        return (
            {
                **_shared(exchange),
                "called": [call["function"]["name"] for call in exchange.tool_calls],
                "returned": [returned.name for returned in results],
                "failed_count": sum(returned.is_error for returned in results),
                "result_chars": sum(len(returned.content) for returned in results),
            },
        )


def _shared(exchange: Exchange) -> dict[str, Any]:
    return {
        "gen_ai.request.model": exchange.request_model,
        "gen_ai.response.model": exchange.response_model,
        "selected_model": exchange.selected_model,
        "backend": exchange.backend,
        "project": exchange.project,
        "key_name": exchange.key_name,
        "status": exchange.status,
    }


def _call(number: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "kind": "call",
        "call_index": number,
        "gen_ai.tool.call.id": call["id"],
        "gen_ai.tool.name": function["name"],
        "gen_ai.tool.call.arguments": function["arguments"],
    }


def _result(returned: Returned) -> dict[str, Any]:
    return {
        "kind": "result",
        "gen_ai.tool.call.id": returned.call_id,
        "gen_ai.tool.name": returned.name,
        "gen_ai.tool.call.arguments": returned.arguments,
        "gen_ai.tool.call.result": returned.content,
        "is_error": returned.is_error,
    }
