"""Coding agents as their makers ship them, run once on a project of the test's own.

    agent = Workspace(tmp_path)                     # home/ and project/, nothing of this machine's
    done = run_claude_code(node, agent, gateway_url, "Replace world by gateway.")
    assert done.exit_code == 0, done.output
    assert done.went_elsewhere == []                # hosts it tried to reach beside the gateway

An agent gets an environment of exactly what is written here, and a proxy that refuses and takes
note for every address but this machine's.  It runs in a session of its own, which ends with it.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.node import Node
from tests.fakes.scripted_backend import ScriptedBackend

RUN_WITHIN_S = 240
MODEL = "scripted"
SMALL_MODEL = "small"
OPENAIS_MODEL = "gpt-5.5"  # one whose name Codex knows: it has tools of other kinds for it
CODE_MODEL = "gpt-6-sol"  # one for which it has a single tool, that runs code
KEY = "test-key"


class Workspace:
    """A home without history and a project folder, both below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.project = folder / "project"
        self.temporary = folder / "tmp"
        for made in (self.home, self.project, self.temporary):
            made.mkdir()

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        path = self.project / name
        path.write_text(text, encoding="utf-8")
        return path

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """All that an agent sees of this machine."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            **more,
        }


@dataclass(frozen=True)
class Finished:
    """`output` is what it printed on either stream; `went_elsewhere` has `host:port` per try."""

    exit_code: int
    output: str
    went_elsewhere: list[str]


def run_claude_code(node: Node, workspace: Workspace, base_url: str, prompt: str) -> Finished:
    """`claude -p PROMPT`, allowed to read and edit files; `base_url` is without /v1."""
    command = [*node.claude_code, "-p", prompt, "--output-format", "json"]
    command += ["--permission-mode", "acceptEdits", "--allowedTools", "Read,Edit,Write"]
    settings = {
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "ANTHROPIC_MODEL": MODEL,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": SMALL_MODEL,
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "32768",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "4096",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return _run(command, workspace, settings)


def run_codex(
    node: Node,
    workspace: Workspace,
    base_url: str,
    prompt: str,
    *,
    model: str = MODEL,
    websockets: bool = False,
    provider: str = "appliance",
    more: str = "",
) -> Finished:
    """`codex exec PROMPT`, allowed to run commands; `base_url` ends in /v1; the `provider` is that
    of the README or Codex's own, `openai`; `more` ends its config.toml.

    Without its sandbox: that needs user namespaces, which not every machine of a test has.
    """
    folder = workspace.home / ".codex"
    folder.mkdir()
    config = codex_config(base_url, websockets) + more
    (folder / "config.toml").write_text(config, encoding="utf-8")
    command = [*node.codex, "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access"]
    command += ["-c", f'model_provider="{provider}"', "-c", f'openai_base_url="{base_url}"']
    keys = dict.fromkeys(("APPLIANCE_KEY", "CODEX_API_KEY"), KEY)
    return _run([*command, "--model", model, prompt], workspace, keys)


def codex_config(base_url: str, websockets: bool) -> str:
    """The ~/.codex/config.toml of the README."""
    return f"""
model = "{MODEL}"
model_provider = "appliance"
model_context_window = 32768
web_search = "disabled"
check_for_update_on_startup = false

[model_providers.appliance]
name = "Appliance"
base_url = "{base_url}"
wire_api = "responses"
env_key = "APPLIANCE_KEY"
supports_websockets = {str(websockets).lower()}

[features]
plugins = false

[agents]
enabled = false

[analytics]
enabled = false
"""


def run_opencode(
    command: Sequence[str], workspace: Workspace, base_url: str, prompt: str
) -> Finished:
    """`opencode run PROMPT`, allowed to edit files; `base_url` ends in /v1."""
    config = workspace.home / "opencode.json"
    config.write_text(json.dumps(opencode_config(base_url)), encoding="utf-8")
    settings = {
        "OPENCODE_CONFIG": str(config),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }
    return _run([*command, "run", "--format", "json", prompt], workspace, settings)


def opencode_config(base_url: str) -> dict[str, object]:
    """The opencode.json of the README: one provider, a model for work and one for titles."""
    limit = {"context": 32768, "output": 4096}
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": f"appliance/{MODEL}",
        "small_model": f"appliance/{SMALL_MODEL}",
        "autoupdate": False,
        "share": "disabled",
        "permission": {"edit": "allow", "bash": "deny", "webfetch": "deny"},
        "provider": {
            "appliance": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Appliance",
                "options": {"baseURL": base_url, "apiKey": KEY},
                "models": {name: {"name": name, "limit": limit} for name in (MODEL, SMALL_MODEL)},
            }
        },
    }


def _run(command: Sequence[str], workspace: Workspace, settings: Mapping[str, str]) -> Finished:
    with ScriptedBackend() as outside:  # knows no CONNECT: a 404 to each
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), outside.url)
        env = workspace.environment({**settings, **proxies, "NO_PROXY": "127.0.0.1,localhost"})
        process = subprocess.Popen(
            command,
            cwd=workspace.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=RUN_WITHIN_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        tried = [request.path for request in (*outside.requests, *outside.probes)]
    return Finished(process.returncode, output, sorted(set(tried)))
