"""Codex edits a file through the gateway, as the README sets it up; it speaks Responses only.

It keeps its history itself, so this gateway has nowhere to store a response.
"""

import json
import sys
from pathlib import Path

import pytest

from appliance.domain.responses.compaction import PROMPT as PROMPT_TO_COMPACT
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
from tests.fakes.agents import CODE_MODEL, MODEL, OPENAIS_MODEL, Workspace, run_codex
from tests.fakes.answers import chat, openai_error
from tests.fakes.gateway import GatewayProcess
from tests.fakes.node import INSTALL_WITHIN_S, Node
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import until

MCP_SERVER = Path(__file__).with_name("mcp_server.py")
MCP_CONFIG = f"""
[mcp_servers.sky-watch]
command = "{sys.executable}"
args = ["{MCP_SERVER}"]
"""
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


def test_codex_has_the_tools_of_its_users_mcp_servers(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    """It sends them as a namespace each, and wants calls back with it."""
    script(backend, ("call_w", "mcp__sky_watch__weather", {"city": "Tromsø"}))
    done = run_codex(node, workspace, f"{gateway.url}/v1", PROMPT, more=MCP_CONFIG)
    assert done.exit_code == 0, done.output
    first, second = asked(backend)
    tools = {tool["function"]["name"]: tool["function"] for tool in first.json["tools"]}
    assert "English names" in tools["mcp__sky_watch__weather"]["description"]
    assert {len(name) <= 64 for name in tools} == {True}
    assert "Rain in Tromsø" in results(second)["call_w"]


def test_codex_finds_the_tools_of_mcp_servers_where_it_has_openais_own_models_look_for_them(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    look = ("call_s", "tool_search", '{"query": "weather"}')
    use = ("call_w", "mcp__sky_watch__weather", '{"city": "Oslo"}')
    answers = [chat("", tool_calls=[call]) for call in (look, use)]
    backend.script(OPENAIS_MODEL, *answers, chat(DONE))
    url = f"{gateway.url}/v1"
    done = run_codex(node, workspace, url, PROMPT, model=OPENAIS_MODEL, more=MCP_CONFIG)
    assert done.exit_code == 0, done.output
    first, second, third = [r for r in backend.requests if r.model == OPENAIS_MODEL]
    assert "mcp__sky_watch__weather" not in first.body.decode()
    assert "mcp__sky_watch__weather" in {t["function"]["name"] for t in second.json["tools"]}
    assert "mcp__sky_watch__weather" in results(second)["call_s"]
    assert "Rain in Oslo" in results(third)["call_w"]


def test_codex_runs_code_as_it_does_for_openais_newest_models(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    """Its tools come in an item of the input, and the one that counts takes JavaScript."""
    file = workspace.write("greeting.txt", BEFORE)
    code = 'await tools.exec_command({cmd: "sed -i s/world/gateway/ greeting.txt"})'
    call = ("call_x", "functions__exec", json.dumps({"input": code}))
    backend.script(CODE_MODEL, chat("", tool_calls=[call]), chat(DONE))
    url = f"{gateway.url}/v1"
    assert_settled(run_codex(node, workspace, url, PROMPT, model=CODE_MODEL), file)
    _, second = [r for r in backend.requests if r.model == CODE_MODEL]
    assert "Script completed" in results(second)["call_x"]


@pytest.mark.parametrize("provider", ["openai", "appliance"])
def test_codex_compacts_a_conversation_that_grew_too_long(
    node: Node,
    gateway: GatewayProcess,
    backend: ScriptedBackend,
    workspace: Workspace,
    provider: str,
) -> None:
    """With the provider it has of its own (over a WebSocket) it asks for a sealed summary; with
    ours it writes one itself."""
    summary = "They want gateway in place of world. It has been done."
    work = chat(
        "",
        tool_calls=[("call_e", "exec_command", '{"cmd": "echo work"}')],
        prompt_tokens=40_000,  # more than the context has
    )
    backend.script(MODEL, work, chat(summary), chat(DONE))
    url = f"{gateway.url}/v1"
    done = run_codex(node, workspace, url, PROMPT, provider=provider)
    assert done.exit_code == 0, done.output
    assert "context compacted" in done.output
    assert done.went_elsewhere == []
    first, compaction, after = asked(backend)
    assert "call_e" in compaction.body.decode()
    assert "tools" not in compaction.json
    asked_by_us = compaction.json["messages"][0]["content"] == PROMPT_TO_COMPACT
    assert asked_by_us == (provider == "openai")
    told = after.body.decode()
    assert summary in told
    assert "call_e" not in told
    assert after.json["tools"] == first.json["tools"]


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
