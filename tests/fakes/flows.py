"""An exchange with all an exchange can have, for whoever tells of exchanges."""

from typing import Any

from appliance.domain.events.exchange import (
    Attempt,
    Cut,
    Embedding,
    Exchange,
    Hit,
    Retrieval,
    Returned,
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
