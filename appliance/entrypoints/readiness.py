"""What `/ready` says of the gateway: each part, and whether a backend can answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from appliance.domain.errors import PartUnavailable
from appliance.domain.routing.directory import ModelDirectory

Check = Callable[[], Awaitable[None]]
CHECK_TIMEOUT_S = 2.0
OK = "ok"


class Readiness:
    """`checks` raise PartUnavailable; a part that is not configured is a check that says so."""

    def __init__(
        self, backends: Sequence[str], directory: ModelDirectory, checks: Mapping[str, Check]
    ) -> None:
        self._backends = backends
        self._directory = directory
        self._checks = checks

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Ready or not, and the body: status, parts, backends."""
        backends, parts = await asyncio.gather(self._ask_backends(), self._ask_parts())
        ready = OK in backends.values()
        degraded = sorted(name for name, state in parts.items() if state != OK)
        status = ("degraded" if degraded else "ready") if ready else "unavailable"
        return ready, {
            "status": status,
            "degraded": degraded,
            "parts": parts,
            "backends": backends,
        }

    async def _ask_backends(self) -> dict[str, str]:
        await self._directory.refresh()
        return {name: await self._directory.problem(name) or OK for name in self._backends}

    async def _ask_parts(self) -> dict[str, str]:
        answers = await asyncio.gather(*(_ask(check) for check in self._checks.values()))
        return dict(zip(self._checks, answers, strict=True))


async def _ask(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except PartUnavailable as exc:
        return str(exc)
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    return OK
