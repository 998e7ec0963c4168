"""What is done to a running appliance: parts killed, frozen, thawed; and when it is whole again."""

import os
import signal
import time
from contextlib import suppress

import httpx

from tests.fakes.appliance import Appliance
from tests.fakes.processes import freeze, is_alive, thaw, wait_gone

WHOLE_WITHIN_S = 90.0


class Faulty:
    """`kills`: from when to when a gateway died, `time.monotonic()`."""

    def __init__(self, appliance: Appliance) -> None:
        self.kills: list[tuple[float, float]] = []
        self._appliance = appliance
        self._frozen: set[int] = set()

    @property
    def dsn(self) -> str:
        """PostgreSQL's, for the application's role."""
        return str(self._appliance.ready["postgres"])

    @property
    def nats(self) -> str:
        """NATS's address with its token."""
        return str(self._appliance.ready["nats"])

    def pid(self, part: str) -> int:
        """The part's process now."""
        return int(self._appliance.ready["pids"][part])

    def wait_running(self, part: str) -> None:
        """Until the ready file names a process that is there."""
        deadline = time.monotonic() + WHOLE_WITHIN_S
        while not is_alive(self.pid(part)):
            assert time.monotonic() < deadline, (
                f"{part} was not restarted:\n{self._appliance.output[-3000:]}"
            )
            time.sleep(0.02)

    def kill(self, part: str) -> int:
        """kill -9, and wait until it is gone; the pid it had."""
        pid, begun = self.pid(part), time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        if part == "gateway":
            self.kills.append((begun, time.monotonic()))
        return pid

    def kill_and_wait(self, part: str) -> None:
        """kill -9, and wait until its successor has been started."""
        pid = self.kill(part)
        self._appliance.wait_restarted(part, pid)

    def kill_everything(self) -> None:
        """kill -9 for `up` itself: its parts die with it."""
        process, gateway, begun = self._appliance.process, self.pid("gateway"), time.monotonic()
        assert process is not None
        process.kill()
        process.wait(WHOLE_WITHIN_S)
        wait_gone(gateway)
        self.kills.append((begun, time.monotonic()))
        self._appliance.forget()

    def freeze(self, part: str) -> None:
        """SIGSTOP for the part and its children."""
        pid = self.pid(part)
        freeze(pid)
        self._frozen.add(pid)

    def thaw(self, part: str) -> None:
        """SIGCONT for the part and its children."""
        pid = self.pid(part)
        thaw(pid)
        self._frozen.discard(pid)

    def thaw_all(self) -> None:
        """Whatever is still frozen goes on."""
        for pid in self._frozen:
            thaw(pid)
        self._frozen.clear()

    def wait_whole(self) -> None:
        """Until the gateway says that every part of it is there."""
        deadline = time.monotonic() + WHOLE_WITHIN_S
        told = "no answer"
        while True:
            with suppress(httpx.TransportError):
                told = httpx.get(f"{self._appliance.url}/ready", timeout=60).text
                if '"status":"ready"' in told:
                    return
            assert time.monotonic() < deadline, (
                f"not whole after {WHOLE_WITHIN_S:g} s: {told}\n{self._appliance.output[-3000:]}"
            )
            time.sleep(0.05)
