"""Event of an exchange's flow: a graph without cycles from the request to the answer.

    request ─┬─ embedding ─ retrieve ─ compose ─┐
             ├─ tool_result … ──────────────────┼─ llm (one an attempt) ─ tool (one a call) ─ answer
             └──────────────────────────────────┘

A node is there when its step happened.  Parents come before their children; ids are unique within
the exchange.  An exchange that embeds is request ─ embedding ─ answer.
"""

from typing import Any

from appliance.domain.events.exchange import Attempt, Exchange, Retrieval

LINEAGE = "pipeline.knowledge.flow.lineage"
Node = dict[str, Any]


class FlowLineage:
    """`nodes`: id, kind, name, parents (ids), status, began_s and duration_s (seconds from the
    request's arrival, None when not measured), detail (numbers and names, no texts)."""

    schema = "knowledge.flow.lineage/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for every exchange."""
        nodes = [_request(exchange)]
        nodes += _embedding(exchange) if exchange.embedding is not None else _chat(exchange)
        nodes.append(_answer(exchange, nodes))
        return ({"nodes": nodes},)


def _node(
    identifier: str,
    kind: str,
    name: str,
    parents: list[str],
    *,
    status: str = "ok",
    began_s: float | None = None,
    duration_s: float | None = None,
    detail: dict[str, Any] | None = None,
) -> Node:
    return {
        "id": identifier,
        "kind": kind,
        "name": name,
        "parents": parents,
        "status": status,
        "began_s": began_s,
        "duration_s": duration_s,
        "detail": detail or {},
    }


def _request(exchange: Exchange) -> Node:
    detail = {"messages": len(exchange.messages), "stream": exchange.stream}
    return _node("request", "request", exchange.surface, [], began_s=0.0, detail=detail)


def _embedding(exchange: Exchange) -> list[Node]:
    made = exchange.embedding
    assert made is not None
    return [
        _node(
            "embedding",
            "embedding",
            made.model,
            ["request"],
            status=exchange.error_type or "ok",
            began_s=made.began_s,
            duration_s=made.duration_s,
            detail={"inputs": len(made.texts), "input_tokens": made.input_tokens},
        )
    ]


def _chat(exchange: Exchange) -> list[Node]:
    results = [
        _node(
            f"result:{number}",
            "tool_result",
            returned.name,
            ["request"],
            status="error" if returned.is_error else "ok",
            detail={"call_id": returned.call_id, "chars": len(returned.content)},
        )
        for number, returned in enumerate(exchange.tool_results)
    ]
    knowledge = _knowledge(exchange.retrieval) if exchange.retrieval is not None else []
    before = [node["id"] for node in results]
    before.append(knowledge[-1]["id"] if knowledge else "request")
    llms = [_llm(number, attempt, before) for number, attempt in enumerate(exchange.attempts, 1)]
    asked = [llms[-1]["id"]] if llms else before
    tools = [
        _node(
            f"tool:{number}",
            "tool",
            call["function"]["name"],
            asked,
            detail={"call_id": call["id"]},
        )
        for number, call in enumerate(exchange.tool_calls)
    ]
    return [*results, *knowledge, *llms, *tools]


def _knowledge(retrieval: Retrieval) -> list[Node]:
    nodes: list[Node] = []
    if (made := retrieval.embedding) is not None:
        nodes.append(
            _node(
                "embedding",
                "embedding",
                made.model,
                ["request"],
                began_s=made.began_s,
                duration_s=made.duration_s,
                detail={"input_tokens": made.input_tokens},
            )
        )
    nodes.append(
        _node(
            "retrieve",
            "retrieve",
            retrieval.workspace,
            [nodes[-1]["id"] if nodes else "request"],
            status=f"degraded:{retrieval.degraded}" if retrieval.degraded else "ok",
            began_s=retrieval.began_s,
            duration_s=retrieval.duration_s,
            detail={"found": len(retrieval.hits) + len(retrieval.cut)},
        )
    )
    detail = {"injected": len(retrieval.hits), "cut": len(retrieval.cut)}
    nodes.append(_node("compose", "compose", "", ["retrieve"], detail=detail))
    return nodes


def _llm(number: int, attempt: Attempt, parents: list[str]) -> Node:
    return _node(
        f"llm:{number}",
        "llm",
        attempt.model,
        parents,
        status=attempt.outcome,
        began_s=attempt.began_s,
        duration_s=attempt.duration_s,
        detail={"backend": attempt.backend},
    )


def _answer(exchange: Exchange, nodes: list[Node]) -> Node:
    """Its parents are the nodes nobody has as a parent yet, but for attempts that failed."""
    used = {parent for node in nodes for parent in node["parents"]}
    leaves = [node["id"] for node in nodes if node["id"] not in used]
    last = max((node["id"] for node in nodes if node["kind"] == "llm"), default="", key=_number)
    parents = [leaf for leaf in leaves if not leaf.startswith("llm:") or leaf == last]
    detail = {
        "finish_reason": exchange.finish_reason,
        "input_tokens": exchange.input_tokens,
        "output_tokens": exchange.output_tokens,
        "error": exchange.error_type,
    }
    return _node(
        "answer",
        "answer",
        exchange.selected_model or exchange.request_model,
        parents,
        status=exchange.status,
        duration_s=exchange.duration_s,
        detail=detail,
    )


def _number(identifier: str) -> int:
    return int(identifier.partition(":")[2])
