"""How the parts of a running appliance are, asked from outside.  For `appliance status` and
`doctor`.
"""

import asyncio
import os
from collections.abc import Awaitable
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict

from appliance.config.parts import Parts
from appliance.infra.embedded.nats import nats_greets
from appliance.infra.embedded.postgres import postgres_answers
from appliance.infra.supervise.probes import (
    STANDS_BY,
    dagster_state,
    http_answers,
    socket_accepts,
)


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part as it is now; `pid` is None when `up` did not start it; `awaited`: it is not
    healthy yet, and starts."""

    name: str
    pid: int | None
    address: str
    healthy: bool
    awaited: bool = False

    @property
    def well(self) -> bool:
        """There is nothing to do about it."""
        return self.healthy or self.awaited

    @property
    def word(self) -> str:
        """`healthy`, `starting` or `down`."""
        return "healthy" if self.healthy else "starting" if self.awaited else "down"


async def health(parts: Parts) -> list[PartHealth]:
    """Every part of the appliance that wrote `parts`, the gateway first."""
    checks: list[tuple[str, str, Awaitable[bool]]] = [
        ("gateway", parts.gateway, http_answers(f"{parts.gateway}/healthz"))
    ]
    if parts.inference:
        probe = http_answers(f"{parts.inference}/healthz")
        checks.append(("inference", parts.inference, probe))
    if parts.consumer:
        probe = http_answers(f"{parts.consumer}/healthz")
        checks.append(("consumer", parts.consumer, probe))
    elif "consumer" in parts.pids:  # an older `up`, whose consumer answered nobody
        checks.append(("consumer", "-", _alive(parts.pids["consumer"])))
    if parts.nats:
        checks.append(("nats", parts.nats, nats_greets(parts.nats)))
    if parts.postgres:
        checks.append(("postgres", _place(parts.postgres), postgres_answers(parts.postgres)))
    if parts.llm:
        root = parts.llm.base_url.removesuffix("/v1")
        checks.append(("llm", parts.llm.base_url, http_answers(f"{root}/health")))
    checks += await _dagster(parts)
    answers = await asyncio.gather(*(probe for _, _, probe in checks))
    return [
        PartHealth(
            name, parts.pids.get(name), address, answer, not answer and name in parts.awaited
        )
        for (name, address, _), answer in zip(checks, answers, strict=True)
    ]


async def _dagster(parts: Parts) -> list[tuple[str, str, Awaitable[bool]]]:
    """Its two parts, unless they were left out.  The page has no address until it has answered."""
    if parts.dagster_code is None:
        return []
    state = await dagster_state(parts.dagster) if parts.dagster else ""
    address = parts.dagster or "-"
    return [
        ("dagster-code", parts.dagster_code, socket_accepts(parts.dagster_code)),
        ("dagster", f"{address} ({state})" if state == STANDS_BY else address, _known(state != "")),
    ]


async def _known(answer: bool) -> bool:
    return answer


async def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _place(dsn: str) -> str:
    """A DSN without its password."""
    found = conninfo_to_dict(dsn)
    host, port = found.get("host", "localhost"), found.get("port", 5432)
    return f"{host}:{port}/{found.get('dbname', '')}"
