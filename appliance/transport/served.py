"""What was done for a request, told in headers and in the access log; of every surface that
answers with a model."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from appliance.domain.chat.turn import Turn
from appliance.domain.events.exchange import Hit
from appliance.domain.routing.candidate import Plan
from appliance.transport.context import RequestContext

MAX_LIST_BYTES = 2048  # of one header that lists what there may be many of


def describe(context: RequestContext, turn: Turn) -> None:
    """What was done, in headers; and in the access log."""
    note(context, turn)
    plan = turn.plan
    if plan is None:
        return
    context.extra_headers += _served(
        plan.selected,
        turn.attempts.current.backend if turn.attempts else "",
        _reason(turn, plan),
        turn.route if turn.provider else "",  # nothing is served before a backend is chosen
        turn.dropped or turn.request.dropped,
    )
    if turn.retrieval is not None:
        found = turn.retrieval
        hits = f"degraded:{found.degraded}" if found.degraded else str(len(found.hits))
        said = {"x-rag": hits, "x-rag-sources": _sources_header(found.hits)}
        context.extra_headers += _encoded(said)


@lru_cache(maxsize=256)  # a gateway says few things of who answered
def _served(
    model: str, backend: str, reason: str, route: str, dropped: tuple[str, ...]
) -> tuple[tuple[bytes, bytes], ...]:
    headers = {
        "x-selected-model": model,
        "x-selected-backend": backend,
        "x-router-reason": reason,
    }
    if route:
        headers["x-served-route"] = route
    lost = (dropped_header(dropped),) if dropped else ()
    return (*_encoded(headers), *lost)


def dropped_header(names: Iterable[str]) -> tuple[bytes, bytes]:
    """Says which fields changed nothing; callers choose their names."""
    return b"x-dropped", _listed(map(_header_safe, names)).encode()


def _encoded(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), _header_safe(value).encode()) for name, value in headers.items())


def _reason(turn: Turn, plan: Plan) -> str:
    """Why the plan, and what failed of it before somebody answered."""
    tried = turn.attempts.tried if turn.attempts else ()
    failed = [f"{a.backend}: {a.outcome}" for a in tried if a.outcome != "ok"]
    return f"{plan.reason}; after {', '.join(failed)}" if failed else plan.reason


def _sources_header(hits: Iterable[Hit]) -> str:
    """`document#chunk;score`, best first; percent-encoded."""
    return _listed(f"{quote(hit.document)}#{hit.chunk};{hit.score:.4f}" for hit in hits)


def _listed(entries: Iterable[str]) -> str:
    """Comma separated, cut at a whole entry."""
    told: list[str] = []
    left = MAX_LIST_BYTES
    for entry in entries:
        if len(entry) > left:
            break
        told.append(entry)
        left -= len(entry) + len(", ")
    return ", ".join(told)


def _header_safe(value: str) -> str:
    return value if value.isascii() and value.isprintable() else quote(value, safe=" /:;,#*.@")


def note(context: RequestContext, turn: Turn) -> None:
    """The fields of the access log, as far as they are known."""
    plan, usage = turn.plan, turn.usage
    context.fields.update(
        request_model=turn.request.model,
        response_model=turn.response_model,
        backend=turn.attempts.current.backend if turn.attempts else "",
        stream=turn.request.stream,
        message_count=len(turn.request.messages),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        routing_decision=plan.reason if plan else "",
    )
    if turn.recorded is not None:
        context.fields["outcome"] = turn.recorded.status
        if turn.recorded.error_type:
            context.fields["error"] = turn.recorded.error_type
