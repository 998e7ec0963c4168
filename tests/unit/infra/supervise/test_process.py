import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance.infra.supervise.process import previous, rotate, tail

PARENT = """
import asyncio, pathlib, signal, sys
from appliance.infra.supervise.process import Launch, spawn
async def main():
    with open(sys.argv[1], "w") as kept:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        launch = Launch(command, {}, pathlib.Path(sys.argv[2]), signal.SIGTERM, kept.fileno())
        print((await spawn(launch)).pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "lock"), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_one_previous_log_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    for text in ("first", "second"):
        log.write_text(text)
        rotate(log)
    assert not log.exists()
    assert previous(log).read_text() == "second"


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("\n".join(f"line {n}" for n in range(5000)))
    assert tail(log, 2) == "    line 4998\n    line 4999"
    assert tail(tmp_path / "none") == ""
