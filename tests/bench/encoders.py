"""What encoding a streamed step costs, by surface: a piece of text, as nearly every step is.

    python -m tests.bench.encoders

`chat` re-emits the chunk a backend of its own dialect sent, `chat_made` makes one of a step that
has no source, as all others do.  Prints one line per figure: name median p99 n machine.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

from appliance.domain.conversation.stream import Delta
from appliance.presentation import anthropic_messages, openai_chat, openai_responses

ROUNDS = 200
STEPS = 600
TEXTS = ("The committee met on ", "Tuesday\n", "«und» ")
TRACE = "0" * 32
ASK = {"model": "m", "stream": True}
MESSAGES = {"messages": [{"role": "user", "content": "hi"}]}
Encode = Callable[[Delta], bytes]


def body(**fields: Any) -> bytes:
    return json.dumps({**ASK, **fields}).encode()


def chat() -> Encode:
    return openai_chat.encoder(openai_chat.decode(body(**MESSAGES), {}), TRACE, 1).delta


def messages() -> Encode:
    request = anthropic_messages.decode(body(max_tokens=9, **MESSAGES), {})
    return anthropic_messages.encoder(request, TRACE, 1).delta


def responses() -> Encode:
    request = openai_responses.decode(body(input="hi"), {})
    encoder = openai_responses.encoder(request, request.continued(()), f"resp_{TRACE}", 1)
    encoder.opening()
    return encoder.delta


def chunk(text: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}


def steps(*, sourced: bool) -> list[Delta]:
    texts = [TEXTS[n % len(TEXTS)] for n in range(STEPS)]
    return [Delta(text=text, source=chunk(text) if sourced else None) for text in texts]


def microseconds(encode: Encode, deltas: Sequence[Delta]) -> float:
    """Of one step."""
    begun = time.perf_counter()
    for delta in deltas:
        encode(delta)
    return (time.perf_counter() - begun) * 1e6 / len(deltas)


def measure(name: str, encoder: Callable[[], Encode], *, sourced: bool = False) -> None:
    values = sorted(microseconds(encoder(), steps(sourced=sourced)) for _ in range(ROUNDS))
    median, p99 = values[ROUNDS // 2], values[int(ROUNDS * 0.99)]
    machine = f"{platform.machine()}x{os.cpu_count()}"
    print(f"encode_{name} {median:.2f}us {p99:.2f}us n={ROUNDS} {machine}", flush=True)


def main() -> None:
    measure("chat", chat, sourced=True)
    measure("chat_made", chat)
    measure("messages", messages)
    measure("responses", responses)


if __name__ == "__main__":
    main()
