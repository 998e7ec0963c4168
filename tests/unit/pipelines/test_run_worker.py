import os
import subprocess
import sys

import msgspec

from appliance.pipelines.run_worker import is_alive, read_worker, this_worker


def test_a_process_knows_itself() -> None:
    worker = read_worker(this_worker())
    assert worker is not None
    assert worker.pid == os.getpid()
    assert is_alive(worker)


def test_a_later_process_with_the_same_pid_is_another() -> None:
    worker = read_worker(this_worker())
    assert worker is not None
    assert not is_alive(msgspec.structs.replace(worker, began="1"))
    assert not is_alive(msgspec.structs.replace(worker, boot="another"))


def test_a_process_of_another_host_is_not_taken_for_one_of_ours() -> None:
    worker = read_worker(this_worker())
    assert worker is not None
    assert not is_alive(msgspec.structs.replace(worker, host="elsewhere"))


def test_a_dead_process_nobody_has_reaped_is_not_alive() -> None:
    code = "from appliance.pipelines.run_worker import this_worker as w; print(w(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        worker = read_worker(process.stdout.read().decode())
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert worker is not None
        assert not is_alive(worker)


def test_a_tag_that_is_not_ours_names_nobody() -> None:
    assert read_worker("{}") is None
    assert read_worker("nobody") is None
