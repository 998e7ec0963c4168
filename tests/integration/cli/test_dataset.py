"""`appliance dataset` as a user runs it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.events.exchange import Exchange
from tests.fakes.datasets import faults
from tests.fakes.kept_events import Kept, Run, recent


def _asked(number: int, **changes: Any) -> Exchange:
    return recent(number, tool_calls=(), **changes)


@pytest.fixture
async def filled(kept: Kept) -> Kept:
    """Three pairs and one that was cut."""
    cut = _asked(4, finish_reason="length")
    await kept.publish([_asked(1), _asked(2), _asked(3), cut])
    await kept.consume()
    return kept


async def test_an_export_says_what_it_wrote_where_and_what_it_left_out(
    filled: Kept, appliance: Run, tmp_path: Path
) -> None:
    out = tmp_path / "sets"
    done = await asyncio.to_thread(appliance, "dataset", "export", "--out", out)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines() if line]
    assert told[0][:3] == ["4", "pairs", "read;"]
    assert ["finish_reason", "1"] in told
    counts = {line[0]: line[1] for line in told if line[0].startswith(str(out))}
    assert int(counts[f"{out}/train.jsonl"]) + int(counts[f"{out}/validation.jsonl"]) == 3
    lines = [
        line
        for side in ("train", "validation")
        for line in (out / f"{side}.jsonl").read_text().splitlines()
    ]
    assert [faults(line) for line in lines] == [[], [], []]
    shown = await asyncio.to_thread(appliance, "dataset", "show", "--out", out)
    assert shown.stdout == done.stdout


async def test_the_manifest_is_told_as_json_and_a_range_is_kept_to(
    filled: Kept, appliance: Run, tmp_path: Path
) -> None:
    words = ("dataset", "export", "--out", tmp_path / "sets", "--json")
    old = await asyncio.to_thread(appliance, *words, "--until", "1h")
    assert json.loads(old.stdout)["read"] == 0
    new = await asyncio.to_thread(appliance, *words, "--since", "1h")
    assert json.loads(new.stdout) == json.loads((tmp_path / "sets/manifest.json").read_text())
    assert json.loads(new.stdout)["excluded"]["finish_reason"] == 1


async def test_without_a_folder_it_goes_below_the_state(
    filled: Kept, appliance: Run, tmp_path: Path
) -> None:
    state = tmp_path / "none" / "datasets" / "chat_pairs"
    missing = await asyncio.to_thread(appliance, "dataset", "show")
    assert (missing.returncode, missing.stderr) == (
        1,
        f"appliance dataset: there is no dataset in {state}: `appliance dataset export` writes "
        "one\n",
    )
    done = await asyncio.to_thread(appliance, "dataset", "export")
    assert done.returncode == 0, done.stderr
    assert (state / "manifest.json").is_file()


async def test_a_disk_that_takes_no_more_is_one_sentence_and_the_old_dataset_stays(
    filled: Kept, appliance: Run, tmp_path: Path
) -> None:
    out = tmp_path / "sets"
    await asyncio.to_thread(appliance, "dataset", "export", "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    # Of a file no more than 512 bytes: the draft of four pairs is longer.
    limited = 'ulimit -f 1; exec "$0" -m appliance dataset export "$@"'
    command = ["sh", "-c", limited, sys.executable, "--out", str(out)]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--config", str(tmp_path / "host.toml")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"KEPT_TEST_TOKEN": filled.server.config.token, "APPLIANCE_STATE": str(tmp_path / "x")},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"appliance dataset: the dataset {out} cannot be written: File")
    assert done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not (tmp_path / ".sets.new").exists()


def test_other_commands_do_not_import_what_datasets_need() -> None:
    script = (
        "import sys, appliance.cli.dataset\n"
        "print([name for name in ('pyarrow', 'numpy', 'py3langid') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_library_that_is_missing_is_named_with_what_to_install(tmp_path: Path) -> None:
    config = tmp_path / "host.toml"
    config.write_text('[postgres]\ndsn = "host=127.0.0.1 port=1"\n')
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from appliance.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["dataset", "export", "--config", str(config), "--out", str(tmp_path / "sets")]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "appliance dataset: datasets need pyarrow: pip install "
        "'agent-gateway-appliance[pipelines]'\n",
    )
