"""`appliance doctor`: what of the appliance is found here, in which version, whether it works, what
to do.
"""

import argparse
import asyncio
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from appliance.config.dagster_home import postgres_dsn, refuse_unusable
from appliance.config.load import default_state, load_config
from appliance.config.parts import read_parts
from appliance.config.schema import DagsterConfig
from appliance.domain.errors import ApplianceError, ConfigError, PartUnavailable
from appliance.entrypoints.serve import require_free
from appliance.infra.embedded.health import health
from appliance.infra.embedded.postgres import postgres_answers
from appliance.infra.embedded.unprivileged import unprivileged
from appliance.infra.embedded.wheels import (
    PIPELINES,
    WHEELS,
    Wheel,
    embedding_model,
    llm_model,
    nats_server,
    pipeline_version,
    postgres_programs,
)
from appliance.infra.onnx.spec import MODEL_ID
from appliance.infra.supervise.state import NEEDED_BYTES, require_space, running_pid

HELP = "check every part, and say what to do"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: a subject, what was found, and what to do when it is not well."""

    subject: str
    found: str
    well: bool
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--state."""
    parser.add_argument("--state", type=Path, metavar="DIR", help="a state folder")


def run(arguments: argparse.Namespace) -> int:
    """0 when nothing needs doing."""
    state = (arguments.state or default_state()).expanduser().absolute()
    findings = [*_machine(state), *_installed(), *_running(state)]
    for finding in findings:
        print(f"{'ok ' if finding.well else 'NO '} {finding.subject:<22} {finding.found}")
        if finding.remedy:
            print(f"{'':<27}-> {finding.remedy}")
    return 0 if all(finding.well for finding in findings) else 1


def _machine(state: Path) -> Iterator[Finding]:
    """Python, room on the disk, and a way to run PostgreSQL as this user."""
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", platform.python_version(), good, "" if good else "install Python 3.11 or newer"
    )
    yield _tried("user for PostgreSQL", _how_postgres_runs)
    yield _tried("disk", partial(_room, state))


def _installed() -> Iterator[Finding]:
    """The wheels, each by what the appliance needs of it, and the built embedding model."""
    looks = (postgres_programs, nats_server, llm_model, llm_model)
    for wheel, look in zip(WHEELS, looks, strict=True):
        yield _tried(wheel.package, partial(_version, wheel, look))
    for wheel in PIPELINES:
        yield _tried(wheel.package, partial(pipeline_version, wheel))
    yield _tried("embedding model", lambda: f"{MODEL_ID} in {embedding_model()}")


def _running(state: Path) -> Iterator[Finding]:
    """The parts, when an appliance runs on `state`."""
    pid = running_pid(state)
    if pid is None:
        yield Finding("appliance", f"not running on {state}", True, "start it with `appliance up`")
        yield _tried("[dagster]", _dagster_settings)
        return
    yield Finding("appliance", f"pid {pid} on {state}", True)
    try:
        parts = read_parts(state)
    except ConfigError as exc:
        yield Finding("parts", str(exc), False, "wait until `appliance up` says ready")
        return
    for part in asyncio.run(health(parts)):
        remedy = (
            "" if part.well else f"`appliance up` restarts it; see {state}/logs/{part.name}.log"
        )
        starting = " (starting)" if part.awaited else ""
        found = f"{part.address} pid {part.pid or '-'}{starting}"
        yield Finding(part.name, found, part.well, remedy)
    if parts.dagster_code:
        yield _tried("dagster's database", partial(_dagster_database, state))


def _tried(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look(), True)
    except PartUnavailable as exc:
        return Finding(subject, "unusable", False, str(exc))
    except ApplianceError as exc:
        return Finding(subject, "not enough", False, str(exc))


def _how_postgres_runs() -> str:
    prefix = unprivileged().prefix
    return f"through {prefix[0]}" if prefix else "as you are"


def _room(state: Path) -> str:
    require_space(state)
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return f"{free // 2**20} MB free, {NEEDED_BYTES // 2**20} needed at start"


def _dagster_settings() -> str:
    """Could Dagster start as it is configured?  Asked while nothing runs: then its address must be
    free."""
    config = load_config()
    refuse_unusable(config)
    if config.dagster.listen:
        require_free(config.dagster.listen, "[dagster] listen =")
    if config.dagster.dsn and not asyncio.run(postgres_answers(config.dagster.dsn)):
        raise ConfigError("the database of [dagster] dsn does not let us in, or is away")
    return "as configured" if config.dagster != DagsterConfig() else "defaults"


def _dagster_database(state: Path) -> str:
    dsn = postgres_dsn(load_config(state=state))
    if not asyncio.run(postgres_answers(dsn)):
        raise PartUnavailable(
            "it does not let us in: see [dagster] dsn; `appliance up` makes its own at its start",
            part="postgres",
        )
    return str(conninfo_to_dict(dsn).get("dbname", ""))


def _version(wheel: Wheel, look: Callable[[], Path]) -> str:
    look()
    return wheel.version() or "unknown version"
