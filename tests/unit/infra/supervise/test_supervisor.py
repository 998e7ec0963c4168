import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

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


async def no() -> bool:
    return False


class Run:
    """A supervisor, what it said, and the pids and answered parts it published."""

    def __init__(
        self, parts: Sequence[Part], state: Path, kept: int, probe_every_s: float = 5.0
    ) -> None:
        self.said: list[str] = []
        self.published: list[dict[str, int]] = []
        self.answered: list[str] = []
        self.awaited: list[str] = []
        self.supervisor = Supervisor(
            parts,
            state / "logs",
            kept,
            self.said.append,
            self._note,
            probe_every_s=probe_every_s,
        )

    def _note(
        self, pids: Mapping[str, int], answered: Collection[str], awaited: Collection[str]
    ) -> None:
        self.published.append(dict(pids))
        self.answered = list(answered)
        self.awaited = list(awaited)

    async def wait_said(self, words: str) -> str:
        async with asyncio.timeout(60):
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
            async with beside(run.supervisor.watch()):
                yield run
        finally:
            await run.supervisor.stop()


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


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

    parts = (Part("fine", SLEEP, ""), Part("broken", failing, "", healthy=no))
    with locked_state(tmp_path) as kept:
        run = Run(parts, tmp_path, kept)
        with pytest.raises(PartUnavailable, match=r"(?s)broken did not start.*3.*the reason"):
            await run.supervisor.start()
        pids = run.supervisor.pids.values()
        await run.supervisor.stop()
        assert all(gone(pid) for pid in pids)


async def test_a_part_that_never_answers_is_given_up(tmp_path: Path) -> None:
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

    async with running(tmp_path, Part("deaf", STUBBORN, "", healthy=deaf, stop_limit_s=0.5)) as run:
        pass
    assert "was killed" in run.said[-1]


async def test_parts_are_in_sessions_of_their_own_and_write_to_their_log(tmp_path: Path) -> None:
    hello = (sys.executable, "-c", "import time; print('hello', flush=True); time.sleep(600)")
    async with running(tmp_path, Part("one", hello, "")) as run:
        pid = run.supervisor.pids["one"]
        assert os.getsid(pid) == pid
        for _ in range(6000):
            if b"hello" in (tmp_path / "logs" / "one.log").read_bytes():
                return
            await asyncio.sleep(0.01)
    raise AssertionError("its output is not in its log")


async def test_late_parts_start_in_order_when_told_to_and_stop_first(tmp_path: Path) -> None:
    parts = (
        Part("gateway", SLEEP, "g"),
        Part("page", SLEEP, "p", after=("code",), late=True),
        Part("code", SLEEP, "c", late=True),
    )
    async with running(tmp_path, *parts) as run:
        assert list(run.supervisor.pids) == run.supervisor.answered == ["gateway"]
        async with beside(run.supervisor.watch_late()):
            await run.supervisor.late_settled()
            assert list(run.supervisor.pids) == ["gateway", "page", "code"]
            assert run.answered == ["gateway", "page", "code"]
    ready = [line.split()[0] for line in run.said if "ready in" in line]
    assert ready == ["gateway", "code", "page"]
    stopped = [line.split()[0] for line in run.said if "stopped" in line]
    assert stopped == ["code", "page", "gateway"]


async def test_a_late_part_that_dies_is_restarted(tmp_path: Path) -> None:
    async with (
        running(tmp_path, Part("page", SLEEP, "", late=True)) as run,
        beside(run.supervisor.watch_late()),
    ):
        await run.supervisor.late_settled()
        os.kill(run.supervisor.pids["page"], signal.SIGKILL)
        await run.wait_said("page         died (signal SIGKILL): restarting in 0.2 s")
        await run.wait_said("is back")


async def test_a_late_part_that_does_not_start_is_tried_until_it_does(tmp_path: Path) -> None:
    third = tmp_path / "third"
    code = (
        f"import pathlib, time; p = pathlib.Path({str(third)!r})\n"
        "with p.open('a') as f: f.write('x')\n"
        "if len(p.read_text()) < 3: raise SystemExit(3)\n"
        "p.with_suffix('.up').touch(); time.sleep(600)"
    )
    healthy = partial(asyncio.to_thread, third.with_suffix(".up").exists)
    state = tmp_path / "state"
    page = Part("page", (sys.executable, "-c", code), "here", healthy=healthy, late=True)
    async with running(state, Part("gateway", SLEEP, ""), page) as run:
        gateway = run.supervisor.pids["gateway"]
        async with beside(run.supervisor.watch_late()):
            await run.supervisor.late_settled()
        log = state / "logs" / "page.log"
        said = [line for line in run.said if line.startswith("  page")]
        assert said[:2] == [
            f"  page         did not start (exit status 3; see {log}): trying again in {pause} s"
            for pause in (0.2, 0.4)
        ]
        assert "ready in" in said[2]
        assert run.supervisor.pids["gateway"] == gateway
        assert run.answered == ["gateway", "page"]


async def test_a_late_part_is_awaited_until_its_first_start_has_failed(tmp_path: Path) -> None:
    fails = Part("page", (sys.executable, "-c", "raise SystemExit(3)"), "", healthy=no, late=True)
    async with running(tmp_path, Part("gateway", SLEEP, ""), fails) as run:
        assert run.awaited == ["page"]
        async with beside(run.supervisor.watch_late()):
            await run.wait_said("did not start (exit status 3")
            assert run.awaited == []


async def test_what_a_part_remarks_is_said_when_it_comes_up(tmp_path: Path) -> None:
    async def remark() -> str:
        return "stands by"

    async with running(tmp_path, Part("page", SLEEP, "here", remark=remark)) as run:
        assert (await run.wait_said("ready in")).endswith("   here   (stands by)")


async def test_a_program_that_is_not_there_stops_nothing_when_it_is_late(tmp_path: Path) -> None:
    missing = Part("page", ("/nonexistent/program",), "", late=True)
    async with (
        running(tmp_path, Part("gateway", SLEEP, ""), missing) as run,
        beside(run.supervisor.watch_late()),
    ):
        line = await run.wait_said("could not be started")
    assert line.startswith("  page ")


async def test_late_parts_that_never_answer_are_waited_for_no_longer_than_their_limits(
    tmp_path: Path,
) -> None:
    mute = Part("code", SLEEP, "", healthy=no, start_limit_s=0.2, late=True)
    behind = Part("page", SLEEP, "", after=("code",), start_limit_s=0.2, late=True)
    async with running(tmp_path, mute, behind) as run, beside(run.supervisor.watch_late()):
        await run.supervisor.late_settled()
        assert run.supervisor.answered == run.supervisor.awaited == []
        assert list(run.supervisor.pids) == ["code"]


async def test_a_late_part_that_answers_after_its_limit_is_ready_then(tmp_path: Path) -> None:
    asked = 0

    async def slow() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    # One look within its limit, the next from the watch.
    part = Part("page", SLEEP, "here", healthy=slow, start_limit_s=0.04, late=True)
    with locked_state(tmp_path) as kept:
        run = Run((part,), tmp_path, kept, probe_every_s=0.05)
        await run.supervisor.start()
        async with beside(run.supervisor.watch_late()):
            await run.wait_said("ready in")
        assert run.answered == ["page"]
        await run.supervisor.stop()
