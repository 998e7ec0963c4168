"""`appliance stop`: end the `appliance up` of a state folder, and wait until it has ended."""

import argparse
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from appliance.config.load import default_state
from appliance.infra.supervise.state import running_pid

HELP = "stop a running `appliance up`"
_WAIT_S = 120.0  # every part's own bound, together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--state."""
    parser.add_argument("--state", type=Path, metavar="DIR", help="its state folder")


def run(arguments: argparse.Namespace) -> int:
    """0 when it has stopped or did not run, 1 when it did not stop."""
    state = (arguments.state or default_state()).expanduser().absolute()
    pid = running_pid(state)
    if pid is None:
        print(f"no appliance is running on {state}")
        return 0
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _WAIT_S
    while running_pid(state) == pid:
        if time.monotonic() > deadline:
            print(f"the appliance on {state} (pid {pid}) has not stopped in {_WAIT_S:.0f} s")
            return 1
        time.sleep(0.05)
    print(f"stopped (pid {pid})")
    return 0
