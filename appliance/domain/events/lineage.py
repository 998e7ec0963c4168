"""Event of an exchange's flow: a graph without cycles from the request to the answer.

    request ─┬─ embedding ─ retrieve ─ compose ─┐
             ├─ tool_result … ──────────────────┼─ llm (one an attempt) ─ tool (one a call) ─ answer
             └──────────────────────────────────┘

A node is there when its step happened.  Attempts that failed are leaves.  Parents come before their
children; ids are unique within the exchange.  An exchange that embeds is request ─ embedding ─
answer, one that moderates request ─ moderation ─ answer, and so is one that reranks.
"""

from collections.abc import Mapping
from typing import Any

from appliance.domain.events.exchange import (
    Attempt,
    Embedding,
    Exchange,
    Moderation,
    Rerank,
    Retrieval,
    Returned,
)
from appliance.domain.events.feedback import OPERATION as FEEDBACK

LINEAGE = "pipeline.knowledge.flow.lineage"
Node = dict[str, Any]


class FlowLineage:
    """`nodes`: id, kind, name, parents (ids), status, began_s and duration_s (seconds from the
    request's arrival, None when not measured), detail (numbers and names, no texts)."""

    schema = "knowledge.flow.lineage/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for every exchange that is not feedback on another."""
        if exchange.operation == FEEDBACK:
            return ()
        return ({"nodes": _nodes(exchange)},)


def _nodes(exchange: Exchange) -> list[Node]:
    nodes = [_request(exchange)]
    if exchange.embedding is not None:
        nodes.append(_embedding(exchange.embedding, exchange.error_type or "ok"))
        return [*nodes, _answer(exchange, ["embedding"])]
    if exchange.moderation is not None:
        nodes.append(_moderation(exchange.moderation, exchange.error_type or "ok"))
        return [*nodes, _answer(exchange, ["moderation"])]
    if exchange.rerank is not None and exchange.retrieval is None:
        nodes.append(_rerank(exchange, exchange.rerank, "request"))
        return [*nodes, _answer(exchange, ["rerank"])]
    ends = ["request"]
    if exchange.retrieval is not None:
        nodes += _knowledge(exchange, exchange.retrieval)
        ends = ["compose"]
    if exchange.tool_results:
        results = [_result(n, returned) for n, returned in enumerate(exchange.tool_results)]
        nodes += results
        ends = [*(node["id"] for node in results), *ends]
    if exchange.attempts:
        nodes += [
            _llm(number, attempt, ends) for number, attempt in enumerate(exchange.attempts, 1)
        ]
        ends = [nodes[-1]["id"]]
    if exchange.tool_calls:
        status = "ok" if exchange.status == "finished" else exchange.status
        tools = [
            _tool(number, call, ends, status) for number, call in enumerate(exchange.tool_calls)
        ]
        nodes += tools
        said = ends if exchange.answer else []
        ends = [*said, *(node["id"] for node in tools)]
    return [*nodes, _answer(exchange, ends)]


# Its own function, and by position: three to ten are made an exchange.
def _node(
    identifier: str,
    kind: str,
    name: str,
    parents: list[str],
    status: str,
    began_s: float | None,
    duration_s: float | None,
    detail: dict[str, Any],
) -> Node:
    return {
        "id": identifier,
        "kind": kind,
        "name": name,
        "parents": parents,
        "status": status,
        "began_s": began_s,
        "duration_s": duration_s,
        "detail": detail,
    }


def _request(exchange: Exchange) -> Node:
    took_s = exchange.duration_s
    detail = {"messages": len(exchange.messages), "stream": exchange.stream}
    return _node("request", "request", exchange.surface, [], "ok", 0.0, took_s, detail)


def _embedding(made: Embedding, status: str) -> Node:
    detail = {"inputs": len(made.texts), "input_tokens": made.input_tokens}
    times = (made.began_s, made.duration_s)
    return _node("embedding", "embedding", made.model, ["request"], status, *times, detail)


def _moderation(made: Moderation, status: str) -> Node:
    detail = {"inputs": made.inputs, "flagged": made.flagged}
    times = (0.0, made.duration_s)
    return _node("moderation", "moderation", made.model, ["request"], status, *times, detail)


def _rerank(exchange: Exchange, made: Rerank, parent: str) -> Node:
    # `ok` says that there are scores, and rows of them.
    status = "ok" if made.scores else exchange.error_type or exchange.status
    detail = {"documents": made.documents, "input_tokens": made.input_tokens}
    times = (None if parent == "retrieve" else 0.0, made.duration_s)
    return _node("rerank", "rerank", made.model, [parent], status, *times, detail)


def _knowledge(exchange: Exchange, retrieval: Retrieval) -> list[Node]:
    made = retrieval.embedding
    nodes = [] if made is None else [_embedding(made, "ok")]
    parents = [nodes[-1]["id"] if nodes else "request"]
    status = "ok" if made is not None else "skipped"  # no question, or no room beside it
    if retrieval.degraded:
        status = f"degraded:{retrieval.degraded}"
    times = (retrieval.began_s, retrieval.duration_s)
    found = {"found": len(retrieval.hits) + len(retrieval.cut)}
    taken = {"injected": len(retrieval.hits), "cut": len(retrieval.cut)}
    nodes.append(_node("retrieve", "retrieve", retrieval.workspace, parents, status, *times, found))
    if exchange.rerank is not None:  # what was found, in a better order
        nodes.append(_rerank(exchange, exchange.rerank, "retrieve"))
    nodes.append(_node("compose", "compose", "", [nodes[-1]["id"]], status, None, None, taken))
    return nodes


def _result(number: int, returned: Returned) -> Node:
    status = "error" if returned.is_error else "ok"
    detail = {"call_id": returned.call_id, "chars": len(returned.content)}
    identifier, parents = f"result:{number}", ["request"]
    return _node(identifier, "tool_result", returned.name, parents, status, None, None, detail)


def _llm(number: int, attempt: Attempt, parents: list[str]) -> Node:
    times = (attempt.began_s, attempt.duration_s)
    detail = {"backend": attempt.backend}
    return _node(f"llm:{number}", "llm", attempt.model, parents, attempt.outcome, *times, detail)


def _tool(number: int, call: Mapping[str, Any], parents: list[str], status: str) -> Node:
    name, detail = call["function"]["name"], {"call_id": call["id"]}
    return _node(f"tool:{number}", "tool", name, parents, status, None, None, detail)


def _answer(exchange: Exchange, parents: list[str]) -> Node:
    detail = {
        "finish_reason": exchange.finish_reason,
        "input_tokens": exchange.input_tokens,
        "output_tokens": exchange.output_tokens,
        "error": exchange.error_type,
    }
    name = exchange.selected_model or exchange.request_model
    began_s = exchange.time_to_first_token_s
    took_s = None if began_s is None else exchange.duration_s - began_s
    return _node("answer", "answer", name, parents, exchange.status, began_s, took_s, detail)
