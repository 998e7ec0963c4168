"""What `/ready` says of the gateway: each part, and whether a backend can answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.domain.errors import PartUnavailable
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import Health

Check = Callable[[], Awaitable[None]]
CHECK_TIMEOUT_S = 2.0
OK = "ok"


class Readiness:
    """`checks` raise PartUnavailable; a part that is not configured is a check that says so.

    `health` None: no backend is ever called ejected; `wall` gives Unix seconds.
    """

    def __init__(
        self,
        backends: Sequence[str],
        directory: ModelDirectory,
        checks: Mapping[str, Check],
        health: Health | None = None,
        *,
        required: Collection[str] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Without a part of `required` no request is served."""
        self._backends = backends
        self._directory = directory
        self._checks = checks
        self._health = health
        self._required = required
        self._wall = wall

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Ready or not, and the body: status, parts, backends.

        A backend that is there counts, ejected or not: when all are ejected they are asked all the
        same, and a gateway that nobody asks would never learn that they are well again.
        """
        problems, parts = await asyncio.gather(self._ask_backends(), self._ask_parts())
        backends = {n: problem or self._ejection(n) or OK for n, problem in problems.items()}
        ready = "" in problems.values() and all(parts[name] == OK for name in self._required)
        degraded = sorted(name for name, state in parts.items() if state != OK)
        if ready and OK not in backends.values():
            degraded.append("backends")
        status = ("degraded" if degraded else "ready") if ready else "unavailable"
        return ready, {
            "status": status,
            "degraded": degraded,
            "parts": parts,
            "backends": backends,
        }

    async def _ask_backends(self) -> dict[str, str]:
        """What keeps each from listing its models; empty where nothing does."""
        await self._directory.refresh()
        return {name: await self._directory.problem(name) for name in self._backends}

    def _ejection(self, backend: str) -> str:
        ejection = self._health.ejected_for(backend) if self._health else None
        if ejection is None:
            return ""
        left_s, why = ejection
        if not left_s:
            return f"ejected until a request or a probe succeeds: {why}"
        until = datetime.fromtimestamp(self._wall() + left_s, UTC)
        return f"ejected until {until:%Y-%m-%dT%H:%M:%SZ}: {why}"

    async def _ask_parts(self) -> dict[str, str]:
        answers = await asyncio.gather(*(ask(check) for check in self._checks.values()))
        return dict(zip(self._checks, answers, strict=True))


async def ask(check: Check) -> str:
    """OK, or why not: at most CHECK_TIMEOUT_S, and in words fit for `/ready`."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except PartUnavailable as exc:
        return str(exc)
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    return OK
