"""Golden cases of a surface: a folder each, `tests/golden/<surface>/<case>/`.

`request.json` is a body of the wire.  `conversation.json` says the same in neutral words, and the
steps of an answer.  `response.sse` is those steps streamed, `response.json` the same answer once.
"""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage

ROOT = Path(__file__).resolve().parents[2] / "golden"


def cases(surface: str) -> list[Path]:
    return sorted((ROOT / surface).iterdir())


def conversation(request: ChatRequest) -> dict[str, Any]:
    """What a request says, in neutral words."""
    return {
        "model": request.model,
        "messages": [
            {"role": message.role, "parts": [typed(part) for part in message.parts]}
            for message in request.messages
        ],
        "options": said(request.options),
        "params": sorted(request.params),
    }


def typed(part: Any) -> dict[str, Any]:
    return {type(part).__name__: said(part)}


def said(value: Any) -> Any:
    """The fields that are not empty, without any `source`."""
    if isinstance(value, list | tuple):
        return [typed(item) if is_dataclass(item) else item for item in value]
    if not is_dataclass(value):
        return value
    told = {field.name: said(getattr(value, field.name)) for field in fields(value)}
    empty: tuple[Any, ...] = (None, "", [], {})
    return {name: v for name, v in told.items() if name != "source" and v not in empty}


def steps(rows: list[dict[str, Any]]) -> list[Delta]:
    """The deltas that `conversation.json` tells."""
    return [
        Delta(
            **{
                **row,
                "tool_calls": [ToolCallDelta(**call) for call in row.get("tool_calls", ())],
                "usage": Usage(**row["usage"]) if "usage" in row else None,
                "logprobs": list(map(logprob, row.get("logprobs", ()))),
            }
        )
        for row in rows
    ]


def logprob(row: dict[str, Any]) -> TokenLogprob:
    top = list(map(logprob, row.get("top", ())))
    return TokenLogprob(row["token"], row["logprob"], row["token"].encode(), top)


def collected(deltas: list[Delta]) -> Answer:
    collector = Collector()
    collector.add(deltas)
    return Answer(collector.choices, collector.usage)


def load(path: Path) -> Any:
    return json.loads(path.read_text())
