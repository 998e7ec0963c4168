"""Coding agents edit a file through the gateway, as the README sets them up.

The backend's script is the model: it reads, edits and says that it is done.  What the agent's tools
answered must come back to it, and every exchange must be in the gateway's record.
"""

import json
from collections.abc import Iterator

import pytest

from tests.clients.work import (
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
from tests.fakes.agents import MODEL, SMALL_MODEL, Workspace, run_claude_code, run_opencode
from tests.fakes.answers import chat
from tests.fakes.anthropic_answers import SIGNATURE, messages, models
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.node import INSTALL_WITHIN_S, Node
from tests.fakes.scripted_backend import ScriptedBackend

pytestmark = pytest.mark.timeout(INSTALL_WITHIN_S + 60)  # the first test may have to install


@pytest.fixture(scope="module")
def anthropic() -> Iterator[ScriptedBackend]:
    """A backend that speaks Messages."""
    with ScriptedBackend() as running:
        running.on_path("GET /v1/models", models([MODEL, SMALL_MODEL]))
        yield running


@pytest.fixture(scope="module")
def anthropic_gateway(
    anthropic: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    config = backend_config(anthropic.base_url).replace("openai-compatible", "anthropic")
    with GatewayProcess(tmp_path_factory.mktemp("anthropic"), config) as running:
        yield running


def test_claude_code_edits_a_file(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    file = workspace.write("greeting.txt", BEFORE)
    edit = {"file_path": str(file), "old_string": "world", "new_string": "gateway"}
    script(backend, ("call_r", "Read", {"file_path": str(file)}), ("call_e", "Edit", edit))
    done = run_claude_code(node, workspace, gateway.url, PROMPT)
    assert_settled(done, file)
    assert done.went_elsewhere == []
    first, second, third = asked(backend)
    assert PROMPT in first.body.decode()
    assert {"Read", "Edit", "Write"} <= {t["function"]["name"] for t in first.json["tools"]}
    assert "Hello, world." in results(second)["call_r"]
    assert "updated" in results(third)["call_e"]
    assert_recorded(recorded(gateway, workspace), "anthropic_messages", ["Read", "Edit"])


@pytest.mark.parametrize("call_id", ["", "call_0"])
def test_claude_code_can_work_with_a_backend_that_names_every_call_alike(
    node: Node,
    gateway: GatewayProcess,
    backend: ScriptedBackend,
    workspace: Workspace,
    call_id: str,
) -> None:
    """It refuses a call without an id, and forgets one whose id it has seen before."""
    file = workspace.write("greeting.txt", BEFORE)
    edit = {"file_path": str(file), "old_string": "world", "new_string": "gateway"}
    script(backend, (call_id, "Read", {"file_path": str(file)}), (call_id, "Edit", edit))
    assert_settled(run_claude_code(node, workspace, gateway.url, PROMPT), file)
    read, edited = results(asked(backend)[-1]).values()
    assert "Hello, world." in read
    assert "updated" in edited


def test_claude_code_can_work_with_a_model_that_writes_its_calls_as_text(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    file = workspace.write("greeting.txt", BEFORE)
    edit = {"file_path": str(file), "old_string": "world", "new_string": "gateway"}
    written = [
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"
        for name, arguments in (("Read", {"file_path": str(file)}), ("Edit", edit))
    ]
    think = "<think>I shall look.</think>"
    backend.script(
        MODEL, *(chat([think[:9], think[9:], call[:6], call[6:]]) for call in written), chat(DONE)
    )
    assert_settled(run_claude_code(node, workspace, gateway.url, PROMPT), file)
    read, edited = results(asked(backend)[-1]).values()
    assert "Hello, world." in read
    assert "updated" in edited


def test_what_would_trouble_a_local_model_is_taken_out_of_claude_codes_prompt(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    backend.script(MODEL, chat(DONE))
    done = run_claude_code(node, workspace, gateway.url, PROMPT)
    assert done.exit_code == 0, done.output
    (request,) = asked(backend)
    assert "x-anthropic-billing-header" not in request.body.decode()
    # It sends a second system message behind the user's; chat templates want one, in front.
    roles = [message["role"] for message in request.json["messages"]]
    assert roles == ["system", "user"]


def test_opencode_edits_a_file(
    node: Node, gateway: GatewayProcess, backend: ScriptedBackend, workspace: Workspace
) -> None:
    if node.opencode is None:
        pytest.skip("opencode is pinned for Linux on x64 only (tests/clients/package.json)")
    file = workspace.write("greeting.txt", BEFORE)
    edit = {"filePath": str(file), "oldString": "world", "newString": "gateway"}
    script(backend, ("call_r", "read", {"filePath": str(file)}), ("call_e", "edit", edit))
    done = run_opencode(node.opencode, workspace, f"{gateway.url}/v1", PROMPT)
    assert_settled(done, file)
    # A helper package for plugins, which it does without.
    assert set(done.went_elsewhere) <= {"registry.npmjs.org:443"}
    _, second, third = asked(backend)
    assert "Hello, world." in results(second)["call_r"]
    assert "applied" in results(third)["call_e"]
    thoughts = [m.get("reasoning_content") for m in third.json["messages"]]
    assert "I shall read." in thoughts
    assert_recorded(recorded(gateway, workspace), "openai_chat", ["read", "edit"])


def test_claude_code_edits_a_file_with_an_anthropic_backend(
    node: Node, anthropic_gateway: GatewayProcess, anthropic: ScriptedBackend, workspace: Workspace
) -> None:
    file = workspace.write("greeting.txt", BEFORE)
    edit = {"file_path": str(file), "old_string": "world", "new_string": "gateway"}
    anthropic.script(
        MODEL,
        messages(
            "", thinking="I shall read.", tools=[("toolu_r", "Read", {"file_path": str(file)})]
        ),
        messages("Now Edit.", tools=[("toolu_e", "Edit", edit)]),
        messages(DONE),
    )
    done = run_claude_code(node, workspace, anthropic_gateway.url, PROMPT)
    assert_settled(done, file)
    first, second, third = asked(anthropic)
    # What the client's own provider understands is not ours to change.
    assert {"context_management", "thinking", "metadata"} <= set(first.json)
    assert "x-anthropic-billing-header" in json.dumps(first.json["system"])
    assert "context-management-2025-06-27" in first.headers["anthropic-beta"]
    blocks = [block for m in second.json["messages"] for block in m["content"]]
    thinking = next(b for b in blocks if isinstance(b, dict) and b["type"] == "thinking")
    assert (thinking["thinking"], thinking["signature"]) == ("I shall read.", SIGNATURE)
    assert "toolu_r" in json.dumps(second.json["messages"][-1])
    assert "updated" in json.dumps(third.json["messages"][-1])
    records = recorded(anthropic_gateway, workspace)
    assert_recorded(records, "anthropic_messages", ["Read", "Edit"])
