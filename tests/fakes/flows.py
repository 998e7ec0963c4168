"""An exchange with all an exchange can have, for whoever tells of exchanges."""

from dataclasses import replace
from typing import Any

from appliance.domain.events.exchange import (
    Attempt,
    Cut,
    Embedding,
    Exchange,
    Hit,
    Moderation,
    Rerank,
    Retrieval,
    Returned,
    Scored,
)
from tests.fakes.exchanges import exchange


def flow(number: int, **changes: Any) -> Exchange:
    """Knowledge found and cut, a result of the turn before, a backend that failed and one that
    reasoned and called two tools."""
    found = Retrieval(
        "garage",
        (Hit("manual.md", 2, 0.75, 120), Hit("notes.md", 0, 0.625, 80)),
        began_s=0.002,
        duration_s=0.02,
        query="how do I bleed the brakes?",
        cut=(
            Cut("manual.md", 7, 0.5, 400, "room"),
            Cut("other.md", 1, 0.125, 90, "score"),
        ),
        min_score=0.25,
        limit=6,
        room_tokens=300,
        context_window=4096,
        embedding=Embedding(
            "query", "minilm", ("how do I bleed the brakes?",), 256, 7, 0.001, 0.01
        ),
    )
    kept = {
        "retrieval": found,
        "message_count": 4,
        "reasoning": "They ask about brakes.",
        "tool_results": (Returned("call_0", "look", '{"part":"pad"}', "worn"),),
        "tool_calls": (_call(0, "order", '{"part":"pad","count":2}'), _call(1, "remind", "{}")),
        "finish_reason": "tool_calls",
        "attempts": (
            Attempt("desktop", "qwen3-8b", "BackendTimeout", 0.025, 0.05),
            Attempt("local", "qwen3-8b-q4", "ok", 0.08, 0.4),
        ),
    }
    return exchange(number, **(kept | changes))


def _call(number: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def moderated(made: Exchange, **changes: Any) -> Exchange:
    """`made` as the moderation of two inputs, one of them flagged."""
    plain = {
        "operation": "moderation",
        "surface": "openai_moderations",
        "route": "moderation",
        "request_model": "",
        "selected_model": "lexicon-en-1",
        "response_model": "lexicon-en-1",
        "backend": "lexicon-en-1",
        "provider": "lexicon",
        "router_reason": "",
        "messages": (),
        "params": {},
        "answer": "",
        "finish_reason": None,
        "input_tokens": None,
        "output_tokens": None,
        "time_to_first_token_s": None,
        "retrieval": None,
        "attempts": (),
        "tool_calls": (),
        "tool_results": (),
        "feedback": None,
        "moderation": Moderation("lexicon-en-1", 2, 1, 0.004),
    }
    return replace(made, **(plain | changes))


def reranked(made: Exchange, **changes: Any) -> Exchange:
    """`made` as the rerank of three documents; without scores when it failed."""
    scores = (
        Scored(2, 0.75, "c" * 64, "manual.md"),
        Scored(0, 0.5, "a" * 64),
        Scored(1, 0.25, "b" * 64),
    )
    failed = changes.get("status", "finished") != "finished"
    model = "bm25+all-minilm-l6-v2"
    plain = {
        "operation": "rerank",
        "surface": "rerank",
        "route": "rerank",
        "request_model": "rerank-v3.5",
        "selected_model": model,
        "response_model": model,
        "backend": "inference",
        "provider": "inference",
        "router_reason": "",
        "messages": (),
        "params": {},
        "answer": "",
        "finish_reason": None,
        "time_to_first_token_s": None,
        "retrieval": None,
        "tool_calls": (),
        "tool_results": (),
        "attempts": (),
        "rerank": Rerank(
            model,
            query="how do I bleed the brakes?",
            documents=3,
            top_n=2,
            scores=() if failed else scores,
            input_tokens=None if failed else 40,
            duration_s=0.125,
        ),
    }
    return replace(made, **(plain | changes))
