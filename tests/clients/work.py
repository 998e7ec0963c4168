"""What the tests of coding agents ask, script and look for, whichever agent it is."""

import json
from pathlib import Path
from typing import Any

from tests.fakes.actions import Received
from tests.fakes.agents import MODEL, SMALL_MODEL, Finished, Workspace
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import spooled, wait_spooled

PROMPT = "Replace world by gateway in greeting.txt."
BEFORE, AFTER = "Hello, world.\n", "Hello, gateway.\n"
DONE = "I replaced it."


def script(backend: ScriptedBackend, *calls: tuple[str, str, dict[str, Any]]) -> None:
    """One answer for each call, with a word and a thought before it, and then DONE."""
    answers = [
        chat(
            f"Now {name}.",
            reasoning=["I shall ", f"{name}."],
            tool_calls=[(call_id, name, json.dumps(arguments))],
        )
        for call_id, name, arguments in calls
    ]
    backend.script(MODEL, *answers, chat(DONE))
    backend.script(SMALL_MODEL, chat("A title"))


def asked(backend: ScriptedBackend) -> list[Received]:
    """The requests for the model that works, in order; titles go to the small one."""
    return [request for request in backend.requests if request.model == MODEL]


def results(request: Received) -> dict[str, str]:
    """Tool call id to what the tool answered; each follows the assistant's call of that id."""
    called: set[str] = set()
    found: dict[str, str] = {}
    for message in request.json["messages"]:
        called |= {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool":
            assert message["tool_call_id"] in called
            found[message["tool_call_id"]] = text_of(message["content"])
    return found


def text_of(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def recorded(gateway: GatewayProcess, workspace: Workspace) -> list[dict[str, Any]]:
    """What the gateway kept of the work in this workspace, in order, the closing answer last."""

    def of_this(record: dict[str, Any]) -> bool:
        return str(workspace.project) in json.dumps(record["messages"])

    wait_spooled(gateway.spool, lambda r: of_this(r) and r["answer"] == DONE)
    records = [record for record in spooled(gateway.spool) if of_this(record)]
    return sorted(records, key=lambda record: float(record["occurred_at"]))


def assert_recorded(records: list[dict[str, Any]], surface: str, tools: list[str]) -> None:
    assert {record["surface"] for record in records} == {surface}
    assert {record["status"] for record in records} == {"finished"}
    called = [[call["function"]["name"] for call in record["tool_calls"]] for record in records]
    assert called == [*([name] for name in tools), []]
    assert len({record["trace_id"] for record in records}) == len(records)


def assert_settled(done: Finished, file: Path) -> None:
    assert done.exit_code == 0, done.output
    assert DONE in done.output
    assert file.read_text() == AFTER, done.output
