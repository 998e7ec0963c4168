"""Exchanges that have events of every subject."""

from typing import Any

from appliance.domain.events.exchange import (
    Cut,
    Embedding,
    Exchange,
    Feedback,
    Hit,
    Rerank,
    Retrieval,
    Returned,
    Scored,
)
from tests.fakes.exchanges import exchange

LOOKED_UP = Retrieval(
    "handbook",
    (Hit("a.md", 1, 0.75, 40), Hit("b.md", 0, 0.5, 20)),
    duration_s=0.25,
    began_s=0.125,
    query="what is a?",
    cut=(Cut("old.md", 0, 0.625, 4000, "room"), Cut("far.md", 1, 0.125, 30, "score")),
    min_score=0.25,
    limit=4,
    room_tokens=1000,
    context_window=4096,
    embedding=Embedding("query", "minilm", ("what is a?",), 256, 5, 0.125, 0.0625),
)
RERANKED = Rerank(
    "colbert-tiny",
    query="what is a?",
    documents=3,
    top_n=2,
    scores=(Scored(2, 0.75, "c" * 64, "c.md"), Scored(0, 0.5, "a" * 64), Scored(1, 0.25, "b" * 64)),
    input_tokens=40,
    duration_s=0.125,
)


def call(identifier: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    """As an exchange has it."""
    return {
        "id": identifier,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def whole(number: int = 1, **changes: Any) -> Exchange:
    """With knowledge, a tool's result, a call, and feedback on itself."""
    full: dict[str, Any] = {
        "retrieval": LOOKED_UP,
        "tool_calls": (call(f"call-{number}"),),
        "tool_results": (Returned(f"call-{number - 1}", "look", "{}", "it rains"),),
        "message_count": 4,
        "rerank": RERANKED,
        "feedback": Feedback(f"{number:032x}", number % 6, f"comment {number}"),
    }
    return exchange(number, **(full | changes))
