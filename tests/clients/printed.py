"""A script of a JavaScript client, run once; the tests read what its SDK understood."""

import json
from pathlib import Path
from typing import Any

from tests.clients.scenarios import TEXT, WEATHER
from tests.fakes.actions import Stall, after_chunks
from tests.fakes.answers import chat
from tests.fakes.node import Node
from tests.fakes.scripted_backend import ScriptedBackend

HERE = Path(__file__).parent
CALL = ("call_weather", "get_weather", json.dumps(WEATHER))


class Printed(dict[str, Any]):
    """What a script printed, by case, and the backend's requests of that run by model."""

    requests: dict[str, list[Any]]


def run(node: Node, backend: ScriptedBackend, script: str, *arguments: str) -> Printed:
    backend.requests.clear()
    backend.script("agent", chat("", tool_calls=[CALL]), chat("It is cold."))
    backend.script("after-tools", chat("It is cold."))
    backend.script("endless", after_chunks(3, Stall(), chat(TEXT)))
    printed = Printed(node.run(HERE / script, *arguments))
    printed.requests = {}
    for request in backend.requests:
        printed.requests.setdefault(request.model, []).append(request)
    return printed
