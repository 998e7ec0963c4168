"""`appliance status`: each part of a running appliance, its pid, its health and its address."""

import argparse
import asyncio
from pathlib import Path

from appliance.config.load import default_state
from appliance.config.parts import read_parts
from appliance.infra.embedded.health import health
from appliance.infra.supervise.state import running_pid

HELP = "show the parts of a running appliance"
NOT_RUNNING = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--state."""
    parser.add_argument("--state", type=Path, metavar="DIR", help="its state folder")


def run(arguments: argparse.Namespace) -> int:
    """0 when every part is healthy or still starts, 1 when one is down, 3 when no appliance runs
    there."""
    state = (arguments.state or default_state()).expanduser().absolute()
    pid = running_pid(state)
    if pid is None:
        print(
            f"no appliance is running on {state}: start one with `appliance up`, or name the "
            "state folder of one that runs with --state DIR"
        )
        return NOT_RUNNING
    parts = read_parts(state)
    found = asyncio.run(health(parts))
    print(f"appliance on {state}, pid {pid}\n")
    print(f"{'part':<12} {'pid':>8}  {'health':<8}  address")
    for part in found:
        print(f"{part.name:<12} {part.pid or '-':>8}  {part.word:<8}  {part.address}")
    for backend in parts.backends:
        print(f"{backend.name:<12} {'-':>8}  {'yours':<8}  {backend.base_url}")
    return 0 if all(part.well for part in found) else 1
