"""What `/ready` says of the consumer: whether it consumes, and of each part what is wrong."""

import asyncio
from typing import Any

from appliance.domain.errors import PartUnavailable
from appliance.entrypoints.readiness import OK, Check, ask
from appliance.infra.nats.consumer.crew import Crew


class ConsumerReadiness:
    """`postgres` raises PartUnavailable when the database does not answer."""

    def __init__(self, crew: Crew, postgres: Check) -> None:
        self._checks = {
            "nats": self._nats,
            "postgres": postgres,
            "streams": self._streams,
            "durables": self._durables,
            "lag": self._lag,
        }
        self._crew = crew

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Ready or not, and the body: `status`, and in `parts` "ok" or the problem of each."""
        answers = await asyncio.gather(*(ask(check) for check in self._checks.values()))
        parts = dict(zip(self._checks, answers, strict=True))
        ready = all(state == OK for state in parts.values())
        return ready, {"status": "ready" if ready else "unavailable", "parts": parts}

    async def _nats(self) -> None:
        if not self._crew.connected:
            raise PartUnavailable("not connected: events wait in the streams", part="nats")

    async def _streams(self) -> None:
        if problem := self._crew.streams.problem:
            raise PartUnavailable(problem, part="streams")

    async def _durables(self) -> None:
        idle = [f"{w.durable.name}: {w.problem}" for w in self._crew.workers if w.problem]
        if idle:
            raise PartUnavailable("; ".join(idle), part="durables")

    async def _lag(self) -> None:
        if raised := self._crew.watch.alarm.raised:
            raise PartUnavailable("; ".join(raised.values()), part="lag")
