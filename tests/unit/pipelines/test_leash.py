import subprocess
import sys
import time
from pathlib import Path

_HELD = """
import os, time
from appliance.pipelines.leash import watch
watch(os.getppid())
print(os.getpid(), flush=True)
while True:
    time.sleep(600)
"""
_PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {_HELD!r}])
time.sleep(600)
"""


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_a_process_on_the_leash_ends_soon_after_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        held = int(parent.stdout.readline())
        assert _is_there(held)
        parent.kill()
        deadline = time.monotonic() + 60
        while _is_there(held):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_whose_input_has_ended_ends() -> None:
    held = subprocess.Popen(
        [sys.executable, "-c", _HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert held.stdout is not None
    assert held.stdin is not None
    with held:
        assert int(held.stdout.readline()) == held.pid
        held.stdin.close()
        assert held.wait(60) == 1


def test_one_whose_parent_is_gone_already_does_not_begin() -> None:
    code = "from appliance.pipelines.leash import watch; watch(1); print('began')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
