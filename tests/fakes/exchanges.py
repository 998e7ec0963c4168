"""Exchanges as a gateway would hand them over."""

from dataclasses import replace
from typing import Any

from appliance.domain.events.exchange import Attempt, Exchange, Hit, Retrieval


def exchange(number: int, *, size: int = 100, **changes: Any) -> Exchange:
    """A finished one; `size` characters of prompt, everything else told apart by `number`."""
    made = Exchange(
        trace_id=f"{number:032x}",
        correlation_id=f"c-{number}",
        conversation_id=f"conversation-{number % 7}",
        occurred_at=1_795_000_000.25 + number,
        host="desk",
        status="finished",
        http_status=200,
        request_model="qwen3-8b",
        selected_model="qwen3-8b-q4",
        response_model="qwen3-8b-q4",
        backend="local",
        provider="openai_chat",
        router_reason="exact",
        messages=(
            {"role": "system", "content": "You are terse."},
            {"role": "user", "content": f"question {number} " + "x" * size},
        ),
        params={"temperature": 0.5},
        answer=f"answer {number}",
        finish_reason="stop",
        input_tokens=12,
        output_tokens=3,
        duration_s=0.5,
        time_to_first_token_s=0.1,
        retrieval=Retrieval("default", (Hit("notes.md", 2, 0.75),), "", 0.02),
        attempts=(Attempt("local", "qwen3-8b-q4", "ok"),),
    )
    return replace(made, **changes)
