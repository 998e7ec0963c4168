import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from appliance.domain.errors import PartUnavailable
from appliance.infra.supervise.part import Part
from appliance.infra.supervise.state import locked_state
from appliance.infra.supervise.supervisor import Supervisor

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(600)",
)


class Run:
    """A supervisor, what it said, and the pids it published."""

    def __init__(self, parts: Sequence[Part], state: Path, kept: int) -> None:
        self.said: list[str] = []
        self.published: list[dict[str, int]] = []
        self.supervisor = Supervisor(parts, state / "logs", kept, self.said.append, self._note)

    def _note(self, pids: Mapping[str, int]) -> None:
        self.published.append(dict(pids))

    async def wait_said(self, words: str) -> str:
        async with asyncio.timeout(10):
            while True:
                for line in self.said:
                    if words in line:
                        return line
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(state: Path, *parts: Part) -> AsyncIterator[Run]:
    with locked_state(state) as kept:
        run = Run(parts, state, kept)
        try:
            await run.supervisor.start()
            watch = asyncio.ensure_future(run.supervisor.watch())
            yield run
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        finally:
            await run.supervisor.stop()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


async def test_parts_start_after_what_they_need_and_stop_in_reverse(tmp_path: Path) -> None:
    order: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.3)
        order.append("database is prepared")

    async def before() -> None:
        order.append("role starts")

    parts = (
        Part("database", SLEEP, "here", prepare=slow),
        Part("role", SLEEP, "there", after=("database",), before=before),
    )
    async with running(tmp_path, *parts) as run:
        assert order == ["database is prepared", "role starts"]
        assert list(run.supervisor.pids) == ["database", "role"]
    stopped = [line.split()[0] for line in run.said if "stopped" in line]
    assert stopped == ["role", "database"]


async def test_a_part_that_dies_is_restarted_said_and_published(tmp_path: Path) -> None:
    async with running(tmp_path, Part("one", SLEEP, "")) as run:
        first = run.supervisor.pids["one"]
        os.kill(first, signal.SIGKILL)
        line = await run.wait_said("died")
        assert "signal SIGKILL" in line
        assert "restarting in 0.2 s" in line
        await run.wait_said("is back")
        assert run.published[-1] == run.supervisor.pids != {"one": first}


async def test_the_pause_grows_while_it_keeps_dying(tmp_path: Path) -> None:
    once = tmp_path / "once"
    code = (
        f"import pathlib, time; p = pathlib.Path({str(once)!r})\n"
        "if p.exists(): raise SystemExit(7)\n"
        "p.touch(); time.sleep(600)"
    )
    part = Part(
        "one", (sys.executable, "-c", code), "", healthy=partial(asyncio.to_thread, once.exists)
    )
    async with running(tmp_path / "state", part) as run:
        os.kill(run.supervisor.pids["one"], signal.SIGTERM)
        await run.wait_said("died (exit status 7): restarting in 0.4 s")
        await run.wait_said("died (exit status 7): restarting in 0.8 s")


async def test_a_part_that_does_not_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    failing = (sys.executable, "-c", "print('the reason'); raise SystemExit(3)")

    async def no() -> bool:
        return False

    parts = (Part("fine", SLEEP, ""), Part("broken", failing, "", healthy=no))
    with locked_state(tmp_path) as kept:
        run = Run(parts, tmp_path, kept)
        with pytest.raises(PartUnavailable, match=r"(?s)broken did not start.*3.*the reason"):
            await run.supervisor.start()
        pids = run.supervisor.pids.values()
        await run.supervisor.stop()
        assert all(gone(pid) for pid in pids)


async def test_a_part_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async def no() -> bool:
        return False

    with locked_state(tmp_path) as kept:
        part = Part("mute", SLEEP, "", healthy=no, start_limit_s=0.3)
        run = Run((part,), tmp_path, kept)
        with pytest.raises(PartUnavailable, match="no answer"):
            await run.supervisor.start()
        await run.supervisor.stop()


async def test_a_part_that_ignores_its_signal_is_killed_in_time(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "deaf.log"

    async def deaf() -> bool:
        return b"deaf" in log.read_bytes()

    began = 0.0
    async with running(tmp_path, Part("deaf", STUBBORN, "", healthy=deaf, stop_limit_s=0.5)) as run:
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert "was killed" in run.said[-1]


async def test_parts_are_in_sessions_of_their_own_and_write_to_their_log(tmp_path: Path) -> None:
    hello = (sys.executable, "-c", "import time; print('hello', flush=True); time.sleep(600)")
    async with running(tmp_path, Part("one", hello, "")) as run:
        pid = run.supervisor.pids["one"]
        assert os.getsid(pid) == pid
        for _ in range(500):
            if b"hello" in (tmp_path / "logs" / "one.log").read_bytes():
                return
            await asyncio.sleep(0.01)
    raise AssertionError("its output is not in its log")
