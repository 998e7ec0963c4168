import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.infra.supervise.state import (
    load_secrets,
    locked_state,
    refuse_second,
    require_space,
    running_pid,
)


def test_a_new_state_folder_and_its_secrets_are_private(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    with locked_state(state):
        made = load_secrets(state)
        assert state.stat().st_mode & 0o777 == 0o700
        assert (state / "secrets.json").stat().st_mode & 0o777 == 0o600
        assert load_secrets(state) == made


def test_the_holder_is_named_while_it_holds(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    with locked_state(tmp_path):
        assert running_pid(tmp_path) == os.getpid()
        with pytest.raises(ConfigError, match=rf"already running .*pid {os.getpid()}"):
            refuse_second(tmp_path)
        with pytest.raises(ConfigError, match="already running"), locked_state(tmp_path):
            pass
    assert running_pid(tmp_path) is None


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from appliance.infra.supervise.state import locked_state\n"
        "with locked_state(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert running_pid(tmp_path) == holder.pid
        holder.kill()
    with locked_state(tmp_path):
        assert running_pid(tmp_path) == os.getpid()


def test_processes_of_an_earlier_run_are_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    with (tmp_path / "parts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        leftover = subprocess.Popen(["sleep", "0.5"], pass_fds=(lock.fileno(),))
    with locked_state(tmp_path):
        assert time.monotonic() - began >= 0.5
    assert leftover.wait() == 0


def test_what_does_not_leave_is_killed(tmp_path: Path) -> None:
    with (tmp_path / "parts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        leftover = subprocess.Popen(["sleep", "60"], pass_fds=(lock.fileno(),))
    with locked_state(tmp_path, leave_s=0.2):
        assert leftover.wait(60) == -signal.SIGKILL


def test_a_database_without_its_secrets_is_said(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(ConfigError, match=r"secrets\.json is missing"):
        load_secrets(tmp_path)


def test_a_folder_others_can_write_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "theirs").touch()
    with pytest.raises(ConfigError, match="shared with other users"), locked_state(tmp_path):
        pass
    assert tmp_path.stat().st_mode & 0o777 == 0o777


def test_a_folder_with_other_things_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "notes").touch()
    with locked_state(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_too_little_space_is_a_sentence_before_anything_is_made(tmp_path: Path) -> None:
    missing = tmp_path / "not" / "there"
    require_space(missing, needed_bytes=1)
    with pytest.raises(ConfigError, match=r"is full: \d+ MB are free and \d+ MB are needed"):
        require_space(missing, needed_bytes=2**60)
    assert not missing.parent.exists()
