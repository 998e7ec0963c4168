"""An exchange as lines of text: what happened and when, its events, its lineage.  Pure.  What
people and models wrote is printed without control characters."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.cli.common import counted
from appliance.cli.terminal import WIDTH, clipped, flat, plain, wrapped
from appliance.cli.tracing.events_table import table
from appliance.cli.tracing.lineage import lineage
from appliance.cli.tracing.runs import lines
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.embedding import TELEMETRY as EMBEDDING_TELEMETRY
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.retrieve import TELEMETRY as RETRIEVE_TELEMETRY
from appliance.domain.events.route import ROUTE
from appliance.domain.events.trace import Traced, number

MOST_LISTED = 20  # hits, cuts, tools
_QUOTE = 300
_SHORT = 60
_INDENT = 28
Facts = Mapping[str, Any]


def timeline(traced: Traced) -> Iterator[str]:
    """Its lines, in the order things happened; times are seconds since the request arrived."""
    yield from wrapped(f"trace {traced.trace_id}", WIDTH)
    for name in ("correlation", "conversation"):
        identifier = getattr(traced, f"{name}_id")
        yield from (f"  {line}" for line in wrapped(f"{name} {identifier}", WIDTH - 2))
    yield from (f"  {line}" for line in wrapped(whereabouts(traced), WIDTH - 2))
    yield from story(traced)
    yield "events"
    yield from (f"  {line}" for line in table(traced.events))
    yield "runs"
    yield from (f"  {line}" for line in lines(traced))
    if nodes := traced.nodes:
        yield "lineage"
        yield from (f"  {line}" for line in lineage(nodes))


def whereabouts(traced: Traced) -> str:
    """Where its events are, in one sentence."""
    places = traced.places
    if len(places) == 1:
        return next(iter(places))
    return "; ".join(f"{place}: {counted(count, 'event')}" for place, count in places.items())


def story(traced: Traced) -> Iterator[str]:
    chat = traced.chat
    told = chat or traced.facts(EMBEDDING, EMBEDDING_TELEMETRY)
    told = told or reranked(traced) or moderated(traced)
    if not told:
        yield from _line(0.0, "request", traced.occurred_at)
        yield from _feedback(traced)
        return
    yield from _line(0.0, "request", _request(traced, told))
    if prompt := _text(told, "prompt"):
        yield from _line(None, "prompt", _quoted(prompt))
    if chat:
        yield from _line(None, "route", _route(chat))
    elif told.get("kind") == "rerank":
        yield from _rerank(told)
    elif told.get("kind") == "moderation":
        yield from _line(None, "moderation", f"by {told['model'] or 'no model'}")
    else:
        yield from _line(None, "embedding", _embedding(told))
    yield from _retrieval(traced)
    yield from _tools(traced, "result")
    yield from _attempts(told)
    if (first := number(told.get("time_to_first_token_s"))) is not None:
        yield from _line(first, "first token", "")
    if length := told.get("reasoning_chars"):
        yield from _line(None, "reasoning", counted(int(length), "character"))
    yield from _tools(traced, "call")
    yield from _line(number(told.get("duration_s")), "end", end(told))
    if answer := _text(told, "answer"):
        yield from _line(None, "answer", _quoted(answer))
    yield from _feedback(traced)


def _request(traced: Traced, told: Facts) -> str:
    said = [told.get("surface") or told.get("operation") or ""]
    if "stream" in told:
        said.append("streamed" if told["stream"] else "once")
    said.append(f"model {told.get('request_model') or '(none)'}")
    if told.get("message_count"):
        said.append(counted(told["message_count"], "message"))
    if told.get("http_status"):
        said.append(f"HTTP {told['http_status']}")
    return f"{traced.occurred_at}  {', '.join(str(each) for each in said if each)}"


def _route(chat: Facts) -> str:
    model = chat.get("selected_model") or chat.get("response_model") or "no model"
    reason = f" ({chat['router_reason']})" if chat.get("router_reason") else ""
    return f"{chat.get('route')}: {model} on {chat.get('backend') or 'no backend'}{reason}"


def _embedding(told: Facts) -> str:
    size = f", {told['dimensions']} dimensions" if told.get("dimensions") else ""
    texts = counted(told.get("input_count") or 0, "text")
    return f"{texts} by {told.get('model')} on {told.get('backend') or 'no backend'}{size}"


def reranked(traced: Traced) -> Facts:
    """What a rerank says of itself; {} for any other exchange."""
    told = traced.facts(RETRIEVE, RETRIEVE_TELEMETRY)
    return told if told.get("kind") == "rerank" else {}


def moderated(traced: Traced) -> Facts:
    """What is known of a moderation, which has no row of its own; {} for any other exchange."""
    nodes = {node.kind: node for node in traced.nodes}
    if "moderation" not in nodes:
        return {}
    own, answer = nodes["moderation"], nodes.get("answer", nodes["moderation"])
    known = {"request_model": own.name, "operation": "moderation"} | dict(traced.facts(ROUTE))
    ended = {"status": answer.status, "duration_s": own.duration_s}
    return known | ended | {"kind": "moderation", "model": own.name}


def _rerank(told: Facts) -> Iterator[str]:
    """What was asked, and the best of what the documents got."""
    documents = counted(told.get("document_count") or 0, "document")
    yield from _line(None, "rerank", f"{documents} by {told.get('model') or 'no model'}")
    if query := _text(told, "query"):
        yield from _line(None, "query", _quoted(query))
    scores = _listed(told.get("scores"))
    for scored in scores[:MOST_LISTED]:
        name = f"  {flat(str(scored['name']))}" if scored.get("name") else ""
        score = number(scored.get("score")) or 0
        yield from _line(None, "", f"document #{scored.get('index')}  {score:.3f}{name}")
    if len(scores) > MOST_LISTED:
        yield from _line(None, "", f"… and {len(scores) - MOST_LISTED} more")


def _retrieval(traced: Traced) -> Iterator[str]:
    """What was looked up and found, then what of it got into the prompt."""
    looked, composed = traced.facts(RETRIEVE), traced.facts(COMPOSE)
    retrieval = looked or traced.chat.get("retrieval") or composed
    if not isinstance(retrieval, Mapping) or not retrieval or reranked(traced):
        return
    hits, cuts = hits_of(retrieval, composed)
    took = number(retrieval.get("duration_s"))
    said = f"{retrieval.get('workspace')}: {counted(len(hits), 'hit')}"
    said += f" in {took:.3f} s" if took is not None else ""
    if number(looked.get("min_score")):
        said += f", at least {looked['min_score']:.3f}, at most {looked.get('hit_limit')}"
    if retrieval.get("degraded"):
        said += f", degraded: {retrieval['degraded']}"
    began = next((node.began_s for node in traced.nodes if node.kind == "retrieve"), None)
    yield from _line(began, "retrieval", said)
    if query := _text(looked, "query"):
        yield from _line(None, "query", _quoted(query))
    for hit in hits[:MOST_LISTED]:
        yield from _line(None, "", _hit(hit))
    for cut in cuts[:MOST_LISTED]:
        yield from _line(None, "cut", f"{_hit(cut)}: {_why(cut, looked)}")
    if (more := max(0, len(hits) - MOST_LISTED) + max(0, len(cuts) - MOST_LISTED)) > 0:
        yield from _line(None, "", f"… and {more} more")
    if composed:
        room = (
            f"{composed.get('used_tokens')} of {composed.get('room_tokens')} tokens for knowledge"
        )
        messages = f"{composed.get('messages_before')} to {composed.get('messages_after')}"
        yield from _line(None, "compose", f"{room}, messages {messages}")


def hits_of(retrieval: Facts, composed: Facts) -> tuple[list[Facts], list[Facts]]:
    """What was injected and what was cut, best first; of a retrieval as any event tells it."""
    if "injected" in composed:
        return _listed(composed.get("injected")), _listed(composed.get("cut"))
    found = _listed(retrieval.get("hits"))
    return [f for f in found if not f.get("cut")], [f for f in found if f.get("cut")]


def _hit(hit: Facts) -> str:
    tokens = f"  {counted(hit['tokens'], 'token')}" if hit.get("tokens") else ""
    return f"{hit.get('document')} #{hit.get('chunk')}  {number(hit.get('score')) or 0:.3f}{tokens}"


def _why(cut: Facts, looked: Facts) -> str:
    """The reason, with the number it was held against where that is known."""
    reason = str(cut.get("reason") or cut.get("cut"))
    if reason == "score" and number(looked.get("min_score")) is not None:
        return f"score below {looked['min_score']:.3f}"
    return reason


def _attempts(told: Facts) -> Iterator[str]:
    for attempt in _listed(told.get("attempts")):
        took = number(attempt.get("duration_s"))
        said = f"{attempt.get('backend')} {attempt.get('model')}: {attempt.get('outcome')}"
        began = number(attempt.get("began_s")) if took else None  # an older record tells neither
        yield from _line(began, "backend", said + (f" in {took:.3f} s" if took else ""))


def _tools(traced: Traced, kind: str) -> Iterator[str]:
    """Calls with what the tool said, once a later exchange brought it; results this one brought."""
    tools = [tool for tool in traced.tools if tool.get("kind") == kind]
    for tool in tools[:MOST_LISTED]:
        called = f"{_text(tool, 'name') or '(unnamed)'}({_brief(_text(tool, 'arguments'))})"
        if kind == "call":
            yield from _line(None, "tool call", called)
            yield from _outcome(tool)
        else:
            asked = _text(tool, "call_event_id").partition(":")[0]
            by = f"  asked for in trace {asked}" if asked else ""
            said = _result(tool.get("content"), tool.get("is_error"))
            yield from _line(None, "tool result", f"{called} {said}{by}")
    if len(tools) > MOST_LISTED:
        yield from _line(None, "", f"… and {len(tools) - MOST_LISTED} more")


def _outcome(call: Facts) -> Iterator[str]:
    if call.get("result") is not None:
        said = _result(call["result"], call.get("result_is_error"))
        yield from _line(None, "", f"{said}  brought by trace {call.get('result_trace_id')}")


def _result(content: Any, is_error: Any) -> str:
    return f"{'failed:' if is_error else '='} {_brief(str(content or ''))}"


def _feedback(traced: Traced) -> Iterator[str]:
    """What it says of another exchange, and what was said of it."""
    given = [e for e in traced.events if e.subject == FEEDBACK and e.facts]
    for event in given[:MOST_LISTED]:
        feedback = event.facts
        said = f"{feedback.get('rating')} at {event.occurred_at[:19]}"
        if key := _text(feedback, "key_name"):
            said += f" by {flat(key)}"
        if rated := _text(feedback, "rated_trace_id"):
            said += f" for trace {flat(rated)}"
        elif brought := _text(feedback, "feedback_trace_id"):
            said += f"  brought by trace {flat(brought)}"
        if comment := _text(feedback, "comment"):
            said += f"  {_quoted(comment)}"
        yield from _line(None, "feedback", said)
    if len(given) > MOST_LISTED:
        yield from _line(None, "", f"… and {len(given) - MOST_LISTED} more")


def end(told: Facts) -> str:
    """How it ended: status, reason, error, tokens."""
    parts = [str(told.get("status", ""))]
    if told.get("finish_reason"):
        parts.append(str(told["finish_reason"]))
    if told.get("error_type"):
        message = told.get("error_message")
        parts.append(f"{told['error_type']}: {message}" if message else str(told["error_type"]))
    tokens = (told.get("input_tokens"), told.get("output_tokens"))
    if tokens != (None, None):
        parts.append(
            "tokens " + ", ".join(_count(n, w) for n, w in zip(tokens, ("in", "out"), strict=True))
        )
    return ", ".join(parts)


def _count(tokens: Any, which: str) -> str:
    return f"{which} {'not reported' if tokens is None else tokens}"


def _line(at_s: float | None, what: str, text: str) -> Iterator[str]:
    when = f"+{at_s:.3f} s" if at_s is not None else ""
    first, *rest = wrapped(text, WIDTH - _INDENT)
    yield f"  {when:>12}  {what:<12}{first}".rstrip()
    yield from (" " * _INDENT + line for line in rest)


def _quoted(text: str) -> str:
    return clipped(flat(text[: 8 * _QUOTE]), _QUOTE)


def _brief(text: str) -> str:
    return clipped(flat(text[: 8 * _SHORT]), _SHORT)


def _text(facts: Facts, key: str) -> str:
    """As text, whatever it is; "" for nothing."""
    value = facts.get(key)
    if isinstance(value, str):
        return value
    return "" if value is None else plain(json.dumps(value))


def _listed(value: Any) -> list[Facts]:
    listed = value if isinstance(value, list | tuple) else ()
    return [each for each in listed if isinstance(each, Mapping)]
