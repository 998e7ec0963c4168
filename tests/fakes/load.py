"""Traffic: so many chat requests a second, come what may, from a process of its own.

    with Load(url, folder) as load:            # 50 a second, until the block ends
        load.wait_answered(30)
        ...                                    # the fault
    load.asked                                 # every request that was made, and what came of it

Open loop: a request leaves when it is due, however many are under way.  Each belongs to a
conversation, which has one request at a time, so the order of its answers is known; when all
conversations wait, a new one begins.  Kinds of request (the model's name too; `script` teaches a
ScriptedBackend to answer them) come in the same order in every run.  While nobody listens a request
waits for a connection: it has not been made yet.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import httptools

from tests.fakes.actions import Behaviour, Cut, Stall, after_chunks, paced
from tests.fakes.answers import chat, reply
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import WAIT_S

PAUSE_S = 0.005
REQUEST_LIMIT_S = 90.0  # a request that takes longer is an error
STOP_LIMIT_S = 100.0
CONVERSATIONS = 25
CHUNKS_UNTIL_LEAVING = 3  # the opening one and two words
CALL = ("call_1", "look_up", '{"word": "spool"}')

# Of twenty requests: what is asked with which model.  `leave` hangs up in the middle of its
# answer; `broken` gets an error instead of an answer, `cut` in the middle of one.
MIX = ("stream",) * 7 + ("once", "tools", "leave") + ("stream",) * 7 + ("once", "broken", "cut")
KINDS: Mapping[str, Behaviour] = {
    "stream": paced(chat(), PAUSE_S),
    "once": chat(),
    "tools": paced(chat((), tool_calls=(CALL,)), PAUSE_S),
    "leave": after_chunks(CHUNKS_UNTIL_LEAVING, Stall(), paced(chat(), PAUSE_S)),
    "broken": reply(500, b'{"error": {"message": "the model fell over"}}'),
    "cut": after_chunks(CHUNKS_UNTIL_LEAVING, Cut(), paced(chat(), PAUSE_S)),
}
FAILING = ("broken", "cut")
NOT_KEPT = (b"nothing new can be kept", b"this exchange could not be kept")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: `turn` counts within its conversation, times are `time.monotonic()`.

    `outcome`: answered | failed (as its kind must) | cancelled (we hung up) | lost (the connection
    broke) | refused (the gateway cannot keep it) | wrong (anything else).  `trace_id` is empty when
    no headers came.
    """

    kind: str
    conversation: str
    turn: int
    question: str
    outcome: str
    trace_id: str
    began: float
    ended: float
    detail: str = ""


def script(backend: ScriptedBackend) -> None:
    """Teach `backend` to answer every kind."""
    backend.models = list(KINDS)
    for model, behaviour in KINDS.items():
        backend.script(model, behaviour)


class Load:
    """The process and what it reports; several may run after each other, their `name`s differ."""

    def __init__(
        self, url: str, folder: Path, *, name: str, rate: float = 50.0, mix: Sequence[str] = MIX
    ) -> None:
        self._out = folder / f"{name}.jsonl"
        self._log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", "tests.fakes.load", url, "--name", name]
        self._command += ["--rate", str(rate), "--mix", ",".join(mix), "--out", str(self._out)]
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: BinaryIO | None = None
        self._asked: list[Asked] = []

    def __enter__(self) -> "Load":
        self._out.touch()
        self._reader = self._out.open("rb")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stderr=log)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more, and wait for every answer that is due."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"answers are due for {STOP_LIMIT_S:g} s: {self._log}") from None
        assert status == 0, self._log.read_text()

    @property
    def asked(self) -> list[Asked]:
        """Every request that has come to its end."""
        assert self._reader is not None
        while (line := self._reader.readline()).endswith(b"\n"):
            self._asked.append(Asked(**json.loads(line)))
        self._reader.seek(-len(line), os.SEEK_CUR)  # half a line: the rest is about to come
        return self._asked

    def wait_answered(self, more: int, timeout_s: float = WAIT_S) -> None:
        """Until `more` answers have come from now on."""
        self.wait_outcomes("answered", more, timeout_s)

    def wait_outcomes(self, outcome: str, more: int, timeout_s: float = WAIT_S) -> None:
        """Until `more` requests have ended so from now on."""
        wanted = self._count(outcome) + more
        deadline = time.monotonic() + timeout_s
        while (left := wanted - self._count(outcome)) > 0:
            assert time.monotonic() < deadline, (
                f"{left} of {more} requests were not {outcome} within {timeout_s:g} s; "
                f"the last: {self.asked[-3:]}"
            )
            time.sleep(0.02)

    def _count(self, outcome: str) -> int:
        return sum(asked.outcome == outcome for asked in self.asked)


# -- the process


class _Conversation:
    def __init__(self, name: str) -> None:
        self.name = name
        self.turns = count(1)


class _Response:
    """What httptools tells of one response."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.whole = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True

    @property
    def trace_id(self) -> str:
        return self.headers.get(b"x-request-id", b"").decode()


class _Generator:
    def __init__(self, url: str, name: str, rate: float, mix: Sequence[str], out: TextIO) -> None:
        self._address = url.removeprefix("http://")
        self._rate = rate
        self._kinds = cycle(mix)
        self._out = out
        self._names: Iterator[str] = (f"{name}-{number}" for number in count(1))
        self._idle = deque(_Conversation(next(self._names)) for _ in range(CONVERSATIONS))

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                group.create_task(self._next(next(self._kinds)))
                due += 1 / self._rate
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.0, due - loop.time()))

    async def _next(self, kind: str) -> None:
        talk = self._idle.popleft() if self._idle else _Conversation(next(self._names))
        turn = next(talk.turns)
        question = f"{talk.name} asks {turn}"
        response = _Response()
        began, reader, writer = await self._connect()
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                writer.write(self._request(kind, talk.name, question))
                outcome, detail = await _listen(kind, reader, response)
        except (OSError, EOFError) as exc:
            outcome, detail = "lost", repr(exc)
        except TimeoutError:
            outcome, detail = "wrong", f"not answered in {REQUEST_LIMIT_S:g} s"
        writer.close()
        ended = time.monotonic()
        trace_id = response.trace_id
        told = Asked(kind, talk.name, turn, question, outcome, trace_id, began, ended, detail)
        self._out.write(json.dumps(asdict(told)) + "\n")
        self._out.flush()
        self._idle.append(talk)

    async def _connect(self) -> tuple[float, asyncio.StreamReader, asyncio.StreamWriter]:
        """And since when: it may be to a gateway that has just been killed."""
        host, _, port = self._address.partition(":")
        deadline = time.monotonic() + REQUEST_LIMIT_S
        while True:
            began = time.monotonic()
            try:
                return began, *await asyncio.open_connection(host, int(port))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    def _request(self, kind: str, conversation: str, question: str) -> bytes:
        asked: dict[str, Any] = {
            "model": kind,
            "messages": [{"role": "user", "content": question}],
            "stream": kind not in ("once", "broken"),
            "x_conversation": conversation,
        }
        body = json.dumps(asked).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self._address}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + body


async def _listen(kind: str, reader: asyncio.StreamReader, response: _Response) -> tuple[str, str]:
    """The outcome and, where it is wrong, what came.  Raises EOFError when the answer stops."""
    while not response.whole:
        data = await reader.read(65536)
        if not data:
            raise EOFError("the connection was closed")
        response.parser.feed_data(data)
        if kind == "leave" and response.body.count(b"data: ") >= CHUNKS_UNTIL_LEAVING:
            return "cancelled", ""
    status, body = response.parser.get_status_code(), bytes(response.body)
    failed = status != 200 or b'data: {"error"' in body
    done = kind == "once" or body.endswith(b"data: [DONE]\n\n")
    if failed and any(words in body for words in NOT_KEPT):
        return "refused", ""
    if failed and kind in FAILING:
        return "failed", ""
    if not failed and done and kind not in (*FAILING, "leave"):
        return "answered", ""
    return "wrong", f"{status}: {body[-300:].decode(errors='replace')}"


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--name", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--mix", required=True)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    stop = asyncio.Event()
    ending = asyncio.create_task(_parent_lets_go(stop))
    with told.out.open("a", encoding="utf-8") as out:
        await _Generator(told.url, told.name, told.rate, told.mix.split(","), out).run(stop)
    await ending


async def _parent_lets_go(stop: asyncio.Event) -> None:
    """Set `stop` when our standard input is closed: our parent wants it, or is gone."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sys.stdin, readable.set)
    await readable.wait()
    loop.remove_reader(sys.stdin)
    stop.set()


if __name__ == "__main__":
    asyncio.run(_main())
