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
from appliance.infra.supervise.probes import http_answers, socket_accepts


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part as it is now; `pid` is None when `up` did not start it."""

    name: str
    pid: int | None
    address: str
    healthy: bool


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
    checks += _dagster(parts)
    answers = await asyncio.gather(*(probe for _, _, probe in checks))
    return [
        PartHealth(name, parts.pids.get(name), address, answer)
        for (name, address, _), answer in zip(checks, answers, strict=True)
    ]


def _dagster(parts: Parts) -> list[tuple[str, str, Awaitable[bool]]]:
    """Its two parts, unless they were left out.  The page has no address until it has answered."""
    if parts.dagster_code is None:
        return []
    page = http_answers(f"{parts.dagster}/server_info") if parts.dagster else _not_yet()
    return [
        ("dagster-code", parts.dagster_code, socket_accepts(parts.dagster_code)),
        ("dagster", parts.dagster or "(starting)", page),
    ]


async def _not_yet() -> bool:
    return False


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
