"""Codex edits a file through the gateway, as the README sets it up; it speaks Responses only.

It keeps its history itself, so this gateway has nowhere to store a response.
"""

import json

import pytest

from tests.clients.work import (
    AFTER,
    BEFORE,
    DONE,
    PROMPT,
    asked,
    assert_recorded,
    assert_settled,
    recorded,
    results,
    script,
)
from tests.fakes.agents import MODEL, OPENAIS_MODEL, Workspace, run_codex
from tests.fakes.answers import chat, openai_error
from tests.fakes.gateway import GatewayProcess
from tests.fakes.node import INSTALL_WITHIN_S, Node
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import until

pytestmark = pytest.mark.timeout(INSTALL_WITHIN_S + 60)  # the first test may have to install


def sockets(gateway: GatewayProcess) -> int:
    """The connections that were WebSockets, as far as they have ended."""
    return sum(line.get("status") == 101 for line in gateway.log)


@pytest.mark.parametrize("websockets", [False, True], ids=["http", "websocket"])
def test_codex_edits_a_file(
    node: Node,
    gateway: GatewayProcess,
    backend: ScriptedBackend,
    workspace: Workspace,
    websockets: bool,
) -> None:
    file = workspace.write("greeting.txt", BEFORE)
    look, edit = {"cmd": "cat greeting.txt"}, {"cmd": "sed -i s/world/gateway/ greeting.txt"}
    script(backend, ("call_r", "exec_command", look), ("call_e", "exec_command", edit))
    before = sockets(gateway)
    done = run_codex(node, workspace, f"{gateway.url}/v1", PROMPT, websockets=websockets)
    assert_settled(done, file)
    if websockets:
        until(lambda: sockets(gateway) == before + 1)
    assert done.went_elsewhere == []
    first, second, third = asked(backend)
    assert PROMPT in first.body.decode()
    assert "exec_command" in {tool["function"]["name"] for tool in first.json["tools"]}
    roles = [message["role"] for message in first.json["messages"]]
    assert (roles[0], set(roles[1:])) == ("system", {"user"})
    assert "Hello, world." in results(second)["call_r"]
    assert "exited with code 0" in results(third)["call_e"]
    thoughts = [m.get("reasoning_content") for m in third.json["messages"]]
    assert "I shall exec_command." in thoughts
    # What only Codex and its maker have a use for.
    assert not first.json.keys() & {"client_metadata", "include", "prompt_cache_key", "store"}
    records = recorded(gateway, workspace)
    assert_recorded(records, "openai_responses", ["exec_command", "exec_command"])


@pytest.mark.parametrize("call_id", ["", "call_0"])
def test_codex_can_work_with_a_backend_that_names_every_call_alike(
    node: Node,
    gateway: GatewayProcess,
    backend: ScriptedBackend,
    workspace: Workspace,
    call_id: str,
) -> None:
    file = workspace.write("greeting.txt", BEFORE)
    look, edit = {"cmd": "cat greeting.txt"}, {"cmd": "sed -i s/world/gateway/ greeting.txt"}
    script(backend, (call_id, "exec_command", look), (call_id, "exec_command", edit))
    assert_settled(run_codex(node, workspace, f"{gateway.url}/v1", PROMPT), file)
    read, edited = results(asked(backend)[-1]).values()
    assert "Hello, world." in read
    assert "exited with code 0" in edited


def test_codex_edits_a_file_with_the_patch_tool_it_has_for_openais_own_models(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    """A custom tool, whose input is no JSON: for a chat backend it is a function with one text."""
    file = workspace.write("greeting.txt", BEFORE)
    patch = f"*** Begin Patch\n*** Update File: greeting.txt\n@@\n-{BEFORE}+{AFTER}*** End Patch\n"
    call = ("call_p", "apply_patch", json.dumps({"input": patch}))
    backend.script(OPENAIS_MODEL, chat("", tool_calls=[call]), chat(DONE))
    url = f"{gateway.url}/v1"
    done = run_codex(node, workspace, url, PROMPT, model=OPENAIS_MODEL)
    assert_settled(done, file)
    _, second = [r for r in backend.requests if r.model == OPENAIS_MODEL]
    assert "Updated the following files" in results(second)["call_p"]


def test_codex_says_what_a_backend_said_when_it_failed(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    backend.script(
        MODEL, openai_error(400, "the prompt is not to my taste", "invalid_request_error")
    )
    done = run_codex(node, workspace, f"{gateway.url}/v1", PROMPT)
    assert done.exit_code != 0
    assert "the prompt is not to my taste" in done.output
    assert len(asked(backend)) == 1
