"""The table of parts that `appliance up` runs: how each is started, asked and stopped."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.entrypoints.serve import split_listen
from appliance.infra.embedded.language_model import ALIAS, Llm
from appliance.infra.embedded.nats import Nats
from appliance.infra.embedded.postgres import Postgres
from appliance.infra.postgres.migrate import migrate
from appliance.infra.supervise.part import Part
from appliance.infra.supervise.probes import LEADS, dagster_state, http_answers, socket_accepts


@dataclass(frozen=True, slots=True)
class RoleOptions:
    """What the role processes are told; paths are absolute."""

    state: Path
    listen: str  # the gateway's
    config: Path | None
    insecure: bool


@dataclass(frozen=True, slots=True)
class Dagster:
    """Where Dagster's two parts listen: its web server, and its code server's socket."""

    listen: str
    code_socket: Path

    @property
    def page(self) -> str:
        """The base of what a browser opens."""
        return base(self.listen)


@dataclass(frozen=True, slots=True)
class Own:
    """The embedded servers of this run."""

    postgres: Postgres
    nats: Nats
    llm: Llm | None
    inference_port: int
    consumer_listen: str
    dagster: Dagster | None


def table(options: RoleOptions, own: Own) -> list[Part]:
    """The parts in the order they are listed and, reversed, stopped.  A new part is one row."""
    gateway = base(options.listen)
    inference = f"127.0.0.1:{own.inference_port}"
    consumer = base(own.consumer_listen)
    return [
        _postgres_row(own.postgres),
        Part(
            "nats",
            own.nats.command(),
            where=own.nats.url,
            healthy=own.nats.healthy,
            before=own.nats.configure,
        ),
        *([_llm_row(own.llm)] if own.llm else []),
        Part(
            "inference",
            _role(options, "inference", inference),
            where=f"http://{inference}",
            healthy=lambda: http_answers(f"http://{inference}/healthz"),
        ),
        Part(
            "consumer",
            _role(options, "consumer", own.consumer_listen),
            where=consumer,
            healthy=lambda: http_answers(f"{consumer}/healthz"),
            after=("postgres", "nats"),
        ),
        Part(
            "gateway",
            _role(options, "gateway", options.listen),
            where=gateway,
            healthy=lambda: http_answers(f"{gateway}/healthz"),
            after=("postgres", "nats"),
            stop_limit_s=20.0,  # it drains open streams
        ),
        *(_dagster_rows(options, own.dagster) if own.dagster else ()),
    ]


def _dagster_rows(options: RoleOptions, dagster: Dagster) -> list[Part]:
    """Late: they cost seconds of a core, which the gateway and the first answer need first.  Both
    start at once: `dagster` itself waits for the code server, most of its start is imports."""

    async def answers() -> bool:
        return await dagster_state(dagster.page) != ""

    async def stands_by() -> str:
        state = await dagster_state(dagster.page)
        return state if state != LEADS else ""

    return [
        Part(
            "dagster-code",
            _role(options, "dagster-code"),
            where=str(dagster.code_socket),
            healthy=lambda: socket_accepts(str(dagster.code_socket)),
            # It keeps nothing, and at SIGTERM takes five seconds to find that nobody asks any more.
            stop_signal=signal.SIGKILL,
            late=True,
        ),
        Part(
            "dagster",
            _role(options, "dagster", dagster.listen),
            where=dagster.page,
            healthy=answers,
            remark=stands_by,
            stop_limit_s=15.0,  # its own bound is five
            late=True,
        ),
    ]


def _postgres_row(postgres: Postgres) -> Part:
    async def prepare() -> None:
        await postgres.prepare()
        await migrate(postgres.dsn)

    return Part(
        "postgres",
        postgres.command(),
        where=f"127.0.0.1:{postgres.port}",
        healthy=postgres.healthy,
        before=postgres.initialise,
        prepare=prepare,
        stop_signal=signal.SIGINT,  # fast shutdown: ends connections, writes a checkpoint
        # SIGKILL would leave its children to find out by themselves.
        death_signal=signal.SIGQUIT,
    )


def _llm_row(llm: Llm) -> Part:
    return Part(
        "llm",
        llm.command(),
        where=f"{llm.root}   {ALIAS}",
        healthy=llm.healthy,
        environment=llm.environment(),
        start_limit_s=120.0,
        stop_limit_s=5.0,
    )


def _role(options: RoleOptions, role: str, listen: str = "") -> list[str]:
    words = ["run", "--role", role, "--state", str(options.state)]
    if listen:
        words += ["--listen", listen]
    if options.config:
        words += ["--config", str(options.config)]
    if options.insecure and role in ("gateway", "dagster"):
        words.append("--insecure")
    return [sys.executable, "-P", "-m", "appliance", *words]


def base(listen: str) -> str:
    """The gateway's base as this machine reaches it."""
    host, port = split_listen(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
