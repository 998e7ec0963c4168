"""Start the parts in order, keep them running, stop them in reverse.  Decides nothing about what a
part is.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.infra.supervise.part import Part
from appliance.infra.supervise.process import Launch, Process, bound, rotate, spawn, tail

_PAUSE_FIRST_S = 0.2
_PAUSE_LONGEST_S = 10.0
_WELL_AFTER_S = 30.0  # healthy for so long, and the next death starts at the shortest pause again
_PROBE_EVERY_S = 5.0
_HUNG_AFTER_S = 60.0
_POLL_S = 0.03

Say = Callable[[str], None]
Publish = Callable[[Mapping[str, int], Collection[str], Collection[str]], None]


class Supervisor:
    """The processes of one `up`.

    `publish` is called with the pids by name, the names of what has answered, and those of the late
    parts that are still awaited, right after every start: it must tell the world before the new
    process takes connections, so it does not wait for anything.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        kept: int,
        say: Say,
        publish: Publish,
        *,
        probe_every_s: float = _PROBE_EVERY_S,
    ) -> None:
        self._parts = parts
        self._early = [part for part in parts if not part.late]
        self._late = [part for part in parts if part.late]
        self._logs = logs
        self._kept = kept
        self._say = say
        self._publish = publish
        self._probe_every_s = probe_every_s
        self._running: dict[str, Process] = {}
        self._answered = {part.name: asyncio.Event() for part in parts}
        self._given_up: set[str] = set()
        self._told = True

    @property
    def pids(self) -> dict[str, int]:
        """The pids of the running parts, in the order of the table."""
        return {p.name: self._running[p.name].pid for p in self._parts if p.name in self._running}

    @property
    def answered(self) -> list[str]:
        """The names of the parts that have come up, whatever became of them since."""
        return [name for name, answered in self._answered.items() if answered.is_set()]

    @property
    def awaited(self) -> list[str]:
        """The late parts that have not come up, and whose first start has not failed."""
        names = [part.name for part in self._late if part.name not in self._given_up]
        return [name for name in names if not self._answered[name].is_set()]

    async def start(self) -> None:
        """Start every part but the late as soon as what it depends on is ready; returns when all
        are.

        Raises the first part's error, with the last lines of its log; the caller then stops the
        rest.
        """
        self._logs.mkdir(mode=0o700, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._early:
                    group.create_task(self._start_first(part))
        except ExceptionGroup as group_error:
            # TaskGroup never holds an empty group; the first to fail is why the others were
            # cancelled.
            raise _first(group_error) from None

    async def watch(self) -> None:
        """Restart what dies, until cancelled; the late parts apart."""
        async with asyncio.TaskGroup() as group:
            for part in self._early:
                group.create_task(self._keep(part))

    async def watch_late(self) -> None:
        """Start the late parts, and keep them running until cancelled.  One that does not come up
        is said and tried again."""
        async with asyncio.TaskGroup() as group:
            for part in self._late:
                group.create_task(self._keep_late(part))

    async def late_settled(self) -> None:
        """Wait until every late part has come up, for their start limits together at most; those
        that have not are given up on, though they may still come."""
        limit_s = sum(part.start_limit_s for part in self._late)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                for part in self._late:
                    await self._answered[part.name].wait()
        self._given_up.update(self.awaited)

    async def stop(self) -> None:
        """Stop what runs, in reverse order; every wait is bounded."""
        for part in reversed(self._parts):
            process = self._running.pop(part.name, None)
            if process is None or not process.running:
                continue
            began = time.monotonic()
            gently = await process.stop(part.stop_signal, part.stop_limit_s)
            how = "stopped" if gently else "did not stop and was killed"
            self._tell(part, f"{how} in {time.monotonic() - began:.1f} s")

    async def _start_first(self, part: Part) -> None:
        for name in part.after:
            await self._answered[name].wait()
        began = time.monotonic()
        rotate(self._log(part))
        await part.before()
        process = await self._launch(part)
        if not await self._wait_healthy(part, process):
            raise self._failure(part, process)
        await part.prepare()
        await self._came_up(part, began)

    async def _launch(self, part: Part) -> Process:
        launch = Launch(
            part.command, part.environment, self._log(part), part.death_signal, self._kept
        )
        process = await spawn(launch)
        self._running[part.name] = process
        self._tell_world()
        return process

    def _tell_world(self) -> None:
        """Publish the pids; on a full disk it is tried again at every probe."""
        try:
            self._publish(self.pids, self.answered, self.awaited)
        except OSError as exc:
            if self._told:
                self._say(f"  the addresses could not be written: {exc}")
            self._told = False
        else:
            self._told = True

    async def _wait_healthy(self, part: Part, process: Process) -> bool:
        """False when it ended, or did not answer in time."""
        deadline = time.monotonic() + part.start_limit_s
        while time.monotonic() < deadline:
            if await process.exited(_POLL_S):
                return False
            if await part.healthy():
                return True
        return False

    async def _came_up(self, part: Part, began: float) -> None:
        """Say it; the first time the world is told, too."""
        took_s = time.monotonic() - began
        if self._answered[part.name].is_set():
            self._tell(part, f"is back after {took_s:.1f} s (pid {self._running[part.name].pid})")
            return
        remark = await part.remark()
        said = f"   ({remark})" if remark else ""
        self._tell(part, f"ready in {took_s:4.1f} s   {part.where}{said}")
        self._answered[part.name].set()
        self._tell_world()

    async def _keep_late(self, part: Part) -> None:
        for name in part.after:
            await self._answered[name].wait()
        with suppress(OSError):
            rotate(self._log(part))
        await self._try(part)
        if not self._answered[part.name].is_set():
            self._given_up.add(part.name)
            self._tell_world()
        await self._keep(part)

    async def _keep(self, part: Part) -> None:
        pause = _PAUSE_FIRST_S
        while True:
            since = time.monotonic()
            if process := self._running.get(part.name):
                await self._until_gone(part, process)
                if time.monotonic() - since > _WELL_AFTER_S:
                    pause = _PAUSE_FIRST_S
                self._tell(part, f"{self._end_of(part, process)} in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_LONGEST_S)
            await self._try(part)

    async def _try(self, part: Part) -> None:
        """One start; whether it worked shows in the next look at the process."""
        try:
            process = await self._launch(part)
            if await self._wait_healthy(part, process):
                await self._came_up(part, process.began)
        except OSError as exc:
            self._tell(part, f"could not be started: {exc}")

    def _end_of(self, part: Part, process: Process) -> str:
        how = process.how_it_ended()
        if self._answered[part.name].is_set():
            return f"died ({how}): restarting"
        return f"did not start ({how}; see {self._log(part)}): trying again"

    async def _until_gone(self, part: Part, process: Process) -> None:
        """Return when it has ended; one that stops answering is reported, and killed when it stays
        so.
        """
        silent_since = 0.0
        while not await process.exited(self._probe_every_s):
            bound(self._log(part))
            if not self._told:
                self._tell_world()
            if await part.healthy():
                if not self._answered[part.name].is_set():
                    await self._came_up(part, process.began)
                elif silent_since:
                    self._tell(part, "answers again")
                silent_since = 0.0
            elif not process.running:
                return
            elif not silent_since:
                silent_since = time.monotonic()
                self._tell(part, "does not answer")
            elif time.monotonic() - silent_since > _HUNG_AFTER_S:
                self._tell(part, f"has not answered for {_HUNG_AFTER_S:.0f} s: killing it")
                process.send(signal.SIGKILL)

    def _failure(self, part: Part, process: Process) -> PartUnavailable:
        log = self._log(part)
        late = f"no answer in {part.start_limit_s:.0f} s"
        how = late if process.running else process.how_it_ended()
        text = f"{part.name} did not start ({how}); the end of {log}:\n{tail(log)}"
        return PartUnavailable(text, part=part.name)

    def _tell(self, part: Part, what: str) -> None:
        self._say(f"  {part.name:<12} {what}")

    def _log(self, part: Part) -> Path:
        return self._logs / f"{part.name}.log"


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first error of our own in `group`, else simply the first."""
    ours = group.subgroup(ApplianceError)
    return (ours or group).exceptions[0]
