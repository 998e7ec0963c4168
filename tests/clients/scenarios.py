"""What the scripted backend says, by the name of the model asked for; every SDK meets the same.

The backend speaks OpenAI's chat completions, so that the Messages clients see what was translated.
"""

import json

from tests.fakes.actions import Behaviour, Cut, after_chunks, then
from tests.fakes.answers import chat, error_event, openai_context_error, openai_error, rate_limited
from tests.fakes.scripted_backend import ScriptedBackend

TEXT = ("Hello", " there", ",", " friend", ".")
THOUGHTS = ("First ", "I look ", "at it.")
REFUSAL = ("I cannot ", "help with that.")
WEATHER = {"city": "Tromsø", "unit": "°C"}
CLOCK = {"zone": "Europe/Oslo"}
RECORD = {"city": "Oslo", "degrees": 3}
PIXEL = (  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

SCENARIOS: dict[str, Behaviour] = {
    "plain": chat(TEXT),
    "tools": chat(
        "Let me look.",
        tool_calls=[
            ("call_weather", "get_weather", json.dumps(WEATHER, ensure_ascii=False)),
            ("call_clock", "get_time", json.dumps(CLOCK)),
        ],
    ),
    "thinking": chat(TEXT, reasoning=THOUGHTS),
    "thinking-tools": chat(
        "", reasoning=THOUGHTS, tool_calls=[("call_weather", "get_weather", json.dumps(WEATHER))]
    ),
    "unwilling": chat([], refusal=REFUSAL),
    "record": chat([json.dumps(RECORD)[:9], json.dumps(RECORD)[9:]]),
    "refused": openai_error(400, "top_q is not a field", "invalid_request_error", None, "top_q"),
    "too-long": openai_context_error(),
    "limited": rate_limited("1"),
    "fallen": openai_error(500, "the model fell over", "server_error"),
    "loading": openai_error(503, "loading the model", "server_error"),
    "breaks": then(after_chunks(3, error_event("out of memory"), chat(TEXT, done=False)), Cut()),
}


def play(backend: ScriptedBackend) -> None:
    """Teach `backend` every scenario, and to list them as its models."""
    backend.models = list(SCENARIOS)
    for name, behaviour in SCENARIOS.items():
        backend.script(name, behaviour)
