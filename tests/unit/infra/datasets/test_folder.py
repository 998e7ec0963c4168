"""Whatever happens while a dataset is written, there is a whole one afterwards."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.config.schema import DatasetConfig
from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.infra.datasets.folder import create, dataset_folder, digest, replacing


def _write(target: Path, text: str) -> None:
    with replacing(target) as folder, create(folder / "manifest.json") as file:
        file.write(text.encode())


def _fail(target: Path, error: Exception) -> None:
    """In the middle of writing."""
    with replacing(target) as folder:
        create(folder / "train.jsonl").close()
        raise error


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "datasets" / "chat_pairs"


def test_the_new_takes_the_place_of_the_old_and_leaves_nothing_beside(target: Path) -> None:
    _write(target, "old")
    _write(target, "new")
    assert (target / "manifest.json").read_text() == "new"
    assert _names(target.parent) == {"chat_pairs", ".chat_pairs.lock"}


def test_others_can_read_none_of_it(target: Path) -> None:
    old = os.umask(0)
    try:
        _write(target, "mine")
    finally:
        os.umask(old)
    assert (_mode(target.parent), _mode(target)) == (0o700, 0o700)
    assert _mode(target / "manifest.json") == 0o600


def test_an_error_leaves_the_old_one_and_nothing_half(target: Path) -> None:
    _write(target, "old")
    with pytest.raises(ZeroDivisionError):
        _fail(target, ZeroDivisionError())
    assert _names(target) == {"manifest.json"}
    assert _names(target.parent) == {"chat_pairs", ".chat_pairs.lock"}


def test_a_full_disk_is_told_as_a_part_that_is_away(target: Path) -> None:
    with pytest.raises(PartUnavailable, match="chat_pairs cannot be written: No space left"):
        _fail(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert not target.exists()


def test_a_place_that_cannot_be_a_folder_is_told_as_one_of_the_configuration(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/chat_pairs cannot be written: .*--out"):
        _write(tmp_path / "file" / "chat_pairs", "new")


def test_a_folder_with_anything_else_in_it_is_never_replaced(target: Path) -> None:
    target.mkdir(parents=True)
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds 'thesis\.tex'"):
        _write(target, "new")
    assert (target / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_and_one_behind_a_link_are_taken(tmp_path: Path, target: Path) -> None:
    target.mkdir(parents=True)
    (tmp_path / "link").symlink_to(target)
    _write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (target / "manifest.json").read_text() == "new"


def test_two_exports_at_once_are_one_and_a_refusal(target: Path) -> None:
    with replacing(target), pytest.raises(ConfigError, match="another export writes"):
        _write(target, "second")
    with (target.parent / ".chat_pairs.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_kill_leaves_the_old_one_and_the_next_export_clears_up(target: Path) -> None:
    _write(target, "old")
    script = (
        "import os, pathlib, signal, sys\n"
        "from appliance.infra.datasets.folder import create, replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as folder:\n"
        "    create(folder / 'train.jsonl').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ".chat_pairs.new" in _names(target.parent)
    assert (target / "manifest.json").read_text() == "old"
    _write(target, "new")
    assert _names(target.parent) == {"chat_pairs", ".chat_pairs.lock"}
    assert _names(target) == {"manifest.json"}


def test_an_old_one_that_a_kill_left_beside_is_put_back(target: Path) -> None:
    _write(target, "old")
    target.rename(target.with_name(".chat_pairs.old"))
    with pytest.raises(ZeroDivisionError):
        _fail(target, ZeroDivisionError())
    assert (target / "manifest.json").read_text() == "old"


def test_the_folder_is_below_the_state_unless_another_is_named(tmp_path: Path) -> None:
    assert dataset_folder(DatasetConfig(), tmp_path) == tmp_path / "datasets" / "chat_pairs"
    assert dataset_folder(DatasetConfig(dir="/srv/sets"), tmp_path) == Path("/srv/sets/chat_pairs")


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert digest(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")
