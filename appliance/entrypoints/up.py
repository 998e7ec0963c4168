"""The composition root of `appliance up`: checks, the table of parts, and the files that say where
they are.

Everything that can be refused is refused before the state folder is touched or a process started.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.config.dagster_home import code_socket, home
from appliance.config.load import load_config
from appliance.config.parts import Llm as LlmAddress
from appliance.config.parts import Parts
from appliance.config.schema import BackendConfig, Config
from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.entrypoints.serve import require_free
from appliance.entrypoints.up_parts import Dagster, Own, RoleOptions, base, table
from appliance.infra.embedded.language_model import ALIAS, CONTEXT_TOKENS, Llm
from appliance.infra.embedded.nats import Nats
from appliance.infra.embedded.postgres import Postgres
from appliance.infra.embedded.unprivileged import unprivileged
from appliance.infra.embedded.wheels import (
    embedding_model,
    llm_model,
    nats_server,
    postgres_programs,
    require_pipelines,
)
from appliance.infra.supervise.discover import discover, named
from appliance.infra.supervise.places import Places
from appliance.infra.supervise.ports import free_ports
from appliance.infra.supervise.probes import http_answers
from appliance.infra.supervise.state import (
    load_secrets,
    locked_state,
    refuse_second,
    require_space,
)
from appliance.infra.supervise.supervisor import Say, Supervisor

_SAY_WAITING_AFTER_S = 10.0
OPTIONAL_PARTS = ("dagster",)  # what `--without` takes


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `appliance up` was asked for; paths are absolute."""

    state: Path
    listen: str  # empty: the configured one
    ready_file: Path | None = None
    config: Path | None = None
    backend: str = ""
    discover: bool = True
    insecure: bool = False
    without: frozenset[str] = frozenset()  # of OPTIONAL_PARTS


@dataclass(frozen=True, slots=True)
class Found:
    """What the checks found; own backends make the embedded language model unnecessary."""

    listen: str  # the gateway's address
    consumer: str  # the consumer's, empty: any
    postgres: Path
    nats: Path
    model: Path | None
    backends: list[BackendConfig]
    dagster: str  # its web server's address, empty: any
    code_socket: Path | None  # its code server's; None: Dagster is left out


async def up(options: UpOptions, say: Say, when_ready: Callable[[Parts], Awaitable[None]]) -> None:
    """Run the appliance until cancelled.  `when_ready` is awaited once, when `/ready` is 200."""
    began = time.monotonic()
    found = await _check(options, say)
    with locked_state(options.state) as kept:
        own = _own(options.state, found, kept)
        parts = _parts(found, own)
        places = Places(options.state, options.ready_file, parts, own.nats.url_with_token)
        roles = RoleOptions(options.state, found.listen, options.config, options.insecure)
        supervisor = Supervisor(
            table(roles, own), options.state / "logs", kept, say, places.publish
        )
        async with _stopping(supervisor, places):
            await supervisor.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(supervisor.watch())
                await _wait_ready(parts.gateway, say)
                if not own.dagster:
                    places.announce(supervisor.pids, supervisor.answered, supervisor.awaited)
                say(f"ready in {time.monotonic() - began:.1f} s")
                await when_ready(parts)
                if own.dagster:
                    group.create_task(supervisor.watch_late())
                    await supervisor.late_settled()
                    places.announce(supervisor.pids, supervisor.answered, supervisor.awaited)


@asynccontextmanager
async def _stopping(supervisor: Supervisor, places: Places) -> AsyncIterator[None]:
    places.withdraw()  # what an `up` that was killed left behind
    try:
        yield
    finally:
        places.withdraw_ready_file()
        await supervisor.stop()
        places.withdraw()


async def _check(options: UpOptions, say: Say) -> Found:
    """Refuse what cannot work, with a sentence; nothing has been written yet."""
    refuse_second(options.state)
    config = load_config(options.config)
    _refuse_foreign_parts(config)
    listen = options.listen or config.gateway.listen
    socket = _code_socket(options, config, say)
    _require_free(listen, config, socket is not None)
    require_space(options.state)
    if options.ready_file and not options.ready_file.parent.is_dir():
        raise ConfigError(f"--ready-file: there is no folder {options.ready_file.parent}")
    postgres, nats = postgres_programs(), nats_server()
    embedding_model(config.inference.model_dir)
    backends = await _backends(options, bool(config.backends), say)
    model = None if backends or config.backends else llm_model()
    return Found(
        listen,
        config.consumer.listen,
        postgres,
        nats,
        model,
        backends,
        config.dagster.listen,
        socket,
    )


def _code_socket(options: UpOptions, config: Config, say: Say) -> Path | None:
    """Where Dagster's code server will listen; None when Dagster is left out or not installed."""
    if "dagster" in options.without:
        return None
    try:
        require_pipelines()
    except PartUnavailable as exc:
        say(f"  warning: without pipelines: {exc}")
        return None
    return code_socket(home(config, options.state))


def _require_free(listen: str, config: Config, dagster: bool) -> None:
    """The addresses that somebody chose; the others are any free ones."""
    chosen = {
        "--listen": listen,
        "[consumer] listen =": config.consumer.listen,
        "[dagster] listen =": config.dagster.listen if dagster else "",
    }
    for setting, address in chosen.items():
        if address:
            require_free(address, setting)


def _refuse_foreign_parts(config: Config) -> None:
    """Roles would follow the file and leave the embedded part unused: say so instead."""
    named_by_file = {
        "[postgres] dsn": config.postgres.dsn,
        "[nats] url": config.nats.url,
        "[inference] url": config.inference.url,
    }
    for key, value in named_by_file.items():
        if value:
            raise ConfigError(
                f"{key} is configured, and `appliance up` brings its own: leave it out, or start "
                "the roles one by one with `appliance run`"
            )


async def _backends(options: UpOptions, configured: bool, say: Say) -> list[BackendConfig]:
    """The user's own servers: named, configured (then nothing is searched), or found."""
    if options.backend:
        backend, problem = await named(options.backend)
        if problem:
            say(f"  warning: the backend {backend.base_url} {problem}")
        else:
            say(f"  your server: {backend.kind} at {backend.base_url}")
        return [backend]
    if configured or not options.discover:
        return []
    backends = await discover()
    for backend in backends:
        say(f"  found your server: {backend.name} at {backend.base_url}")
    return backends


def _own(state: Path, found: Found, lock: int) -> Own:
    secrets = load_secrets(state)
    postgres, nats, llm, inference, consumer, dagster = free_ports(6)
    return Own(
        Postgres(
            found.postgres,
            state / "postgres",
            postgres,
            secrets.postgres_superuser,
            secrets.postgres,
            unprivileged(),
            (lock,),
        ),
        Nats(found.nats, state / "nats", nats, secrets.nats),
        Llm(found.model, llm, secrets.llm) if found.model else None,
        inference,
        found.consumer or f"127.0.0.1:{consumer}",
        Dagster(found.dagster or f"127.0.0.1:{dagster}", found.code_socket)
        if found.code_socket
        else None,
    )


def _parts(found: Found, own: Own) -> Parts:
    gateway = base(found.listen)
    return Parts(
        gateway=gateway,
        inference=f"http://127.0.0.1:{own.inference_port}",
        consumer=base(own.consumer_listen),
        nats=own.nats.url,
        nats_token=own.nats.token,
        postgres=own.postgres.dsn,
        metrics=f"{gateway}/metrics",
        dagster=own.dagster.page if own.dagster else None,
        dagster_code=str(own.dagster.code_socket) if own.dagster else None,
        llm=_llm_address(own.llm) if own.llm else None,
        backends=found.backends,
    )


def _llm_address(llm: Llm) -> LlmAddress:
    return LlmAddress(
        base_url=f"{llm.root}/v1", api_key=llm.key, model=ALIAS, context_window=CONTEXT_TOKENS
    )


async def _wait_ready(gateway: str, say: Say) -> None:
    """Until the gateway says that a backend can answer; said once when that takes long."""
    began, told = time.monotonic(), False
    while not await http_answers(f"{gateway}/ready"):
        if not told and time.monotonic() - began > _SAY_WAITING_AFTER_S:
            say(f"  no backend can answer yet: see {gateway}/ready; waiting")
            told = True
        await asyncio.sleep(0.05 if not told else 1.0)
