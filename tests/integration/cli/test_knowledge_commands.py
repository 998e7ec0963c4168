"""`appliance migrate`, `ingest`, `documents` and `search` as a user runs them."""

import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.inference import ScriptedInference

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inference() -> Iterator[ScriptedInference]:
    with ScriptedInference() as server:
        yield server


@pytest.fixture
def environment(tmp_path: Path, fresh_dsn: str) -> dict[str, str]:
    """No appliance of this user is found by accident."""
    return os.environ | {
        "APPLIANCE_STATE": str(tmp_path / "no-state"),
        "XDG_CONFIG_HOME": str(tmp_path / "no-config"),
        "TEST_DSN": fresh_dsn,
    }


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str], inference: ScriptedInference) -> Run:
    config = tmp_path / "host.toml"
    config.write_text(
        f'[postgres]\ndsn = "env:TEST_DSN"\n[inference]\nurl = "{inference.url}"\n'
        "[knowledge]\nmax_file_bytes = 5000\n"
    )

    def call(command: str, *words: object) -> subprocess.CompletedProcess[str]:
        line = [
            sys.executable,
            "-m",
            "appliance",
            command,
            *map(str, words),
            "--config",
            str(config),
        ]
        return subprocess.run(
            line, env=environment, capture_output=True, text=True, timeout=180, check=False
        )

    return call


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "ports.md").write_text("# Ports\n\nThe gateway listens on port 8080.\n")
    (folder / "deep" / "bread.txt").write_text("Bread needs flour, water and salt.\n")
    return folder


def test_what_was_ingested_is_listed_found_and_removed(run: Run, docs: Path) -> None:
    assert run("migrate").stdout.startswith("applied 0001_knowledge.sql")
    ingested = run("ingest", docs)
    assert (ingested.returncode, ingested.stderr) == (0, "")
    assert ingested.stdout.startswith("workspace default: 2 new, 0 changed, 0 unchanged; 2 chunks")

    listed = json.loads(run("documents", "list", "--json").stdout)
    assert [(d["name"], d["chunks"]) for d in listed] == [("deep/bread.txt", 1), ("ports.md", 1)]

    best, *_ = run("search", "which port does the gateway use", "--limit", 2).stdout.splitlines()
    assert best.endswith("  ports.md#0  # Ports The gateway listens on port 8080.")

    assert run("documents", "remove", "ports.md").returncode == 0
    assert run("documents", "remove", "ports.md").returncode == 1
    found = json.loads(run("search", "gateway port", "--json").stdout)
    assert [hit["document"] for hit in found] == ["deep/bread.txt"]


def test_a_second_run_embeds_only_what_changed(
    run: Run, docs: Path, inference: ScriptedInference
) -> None:
    run("migrate")
    run("ingest", docs)
    (docs / "ports.md").write_text("# Ports\n\nThe gateway listens on port 9090.\n")
    inference.requests.clear()
    again = run("ingest", docs)
    assert again.stdout.startswith("workspace default: 0 new, 1 changed, 1 unchanged; 1 chunk ")
    assert inference.requests[1:] == [["# Ports\n\nThe gateway listens on port 9090."]]
    assert "9090" in run("search", "gateway port").stdout
    assert "8080" not in run("search", "gateway port").stdout


def test_what_cannot_be_ingested_is_said_and_the_exit_code_tells(run: Run, docs: Path) -> None:
    run("migrate")
    (docs / "big.md").write_text("x" * 5001)
    (docs / "photo.png").write_bytes(b"\x89PNG\0")
    (docs / "away.md").symlink_to("/etc/passwd")
    done = run("ingest", docs)
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        "failed: big.md is larger than 5000 bytes ([knowledge] max_file_bytes)",
        "skipped: away.md is a link that leaves the folder",
        "skipped: photo.png is not text",
    ]
    assert "2 new, 0 changed, 0 unchanged, 2 skipped, 1 failed" in done.stdout


def test_workspaces_do_not_see_each_other(run: Run, docs: Path) -> None:
    run("migrate")
    run("ingest", docs, "--workspace", "team")
    assert run("search", "gateway port").stdout == ""
    assert "ports.md#0" in run("search", "gateway port", "--workspace", "team").stdout
    assert "ports.md  team" in run("documents", "list").stdout
    assert run("documents", "remove", "ports.md").returncode == 1
    refused = run("ingest", docs, "--workspace", "../up")
    assert refused.returncode == 1
    assert "cannot be a workspace" in refused.stderr


def test_a_database_that_was_not_migrated_says_what_to_run(run: Run, docs: Path) -> None:
    done = run("ingest", docs)
    assert done.returncode == 1
    assert "run `appliance migrate`" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_appliance_every_command_says_what_to_do(
    environment: dict[str, str], docs: Path
) -> None:
    for words in (["ingest", str(docs)], ["documents", "list"], ["search", "x"], ["migrate"]):
        done = subprocess.run(
            [sys.executable, "-m", "appliance", *words],
            env=environment, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "--state" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_terminal_gets_a_progress_bar(run: Run, docs: Path, environment: dict[str, str]) -> None:
    run("migrate")
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    termios.tcsetwinsize(theirs, (25, 80))
    config = docs.parent / "host.toml"
    subprocess.run(
        [sys.executable, "-m", "appliance", "ingest", str(docs), "--config", str(config)],
        env=environment, stderr=theirs, stdout=subprocess.DEVNULL, timeout=180, check=True,
    )  # fmt: skip
    shown = os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    assert b"0/2" in shown
