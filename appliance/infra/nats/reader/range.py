"""Reads a stretch of a stream by direct gets.  No consumer is made and nothing is acked, so the
durables never notice.  For `appliance replay` and `appliance forget`.

A batch is bounded in messages and in bytes; the next one is asked for when the caller is done with
the last, so memory does not grow with the stretch.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from appliance.config.schema import NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.infra.nats.connection import login_of
from appliance.infra.nats.streams import request

BATCH_MESSAGES = 500
BATCH_BYTES = 8 * 1024 * 1024
SILENCE_S = 5.0
CONNECT_S = 3
CLOSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Stored:
    """One message; `at` is when the stream took it, in Unix seconds."""

    sequence: int
    subject: str
    at: float
    event_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """`left`: how many of the stretch follow, those behind its end included."""

    messages: list[Stored]
    left: int


@dataclass(frozen=True, slots=True)
class State:
    """`first_at` is when the stream took the oldest message it has; None when it has none."""

    first_sequence: int
    last_sequence: int
    first_at: float | None


@asynccontextmanager
async def visit(config: NatsConfig) -> AsyncIterator[Client]:
    """A connection for one command: it fails at once instead of waiting, and is not renewed.

    Raises PartUnavailable(part="nats"), also for what goes wrong with NATS inside the block.
    """
    if not config.url:
        raise PartUnavailable("NATS: is not configured ([nats] url)", part="nats")
    client = Client()
    try:
        await _connect(client, config)
        yield client
    except nats.errors.Error as exc:
        raise _unavailable(str(exc) or type(exc).__name__) from exc
    finally:
        # Also when it was refused: nats-py (2.16) leaves the socket of a failed login open.
        with suppress(Exception):
            await asyncio.wait_for(client.close(), CLOSE_S)


async def state_of(client: Client, stream: str) -> State | None:
    """None when there is no such stream.  Raises nats errors."""
    js = client.jetstream(timeout=SILENCE_S)
    try:
        state = (await request(js, f"STREAM.INFO.{stream}", {}))["state"]
    except nats.js.errors.NotFoundError:
        return None
    first_at = unix_s(state["first_ts"]) if state["messages"] else None
    return State(state["first_seq"], state["last_seq"], first_at)


class StreamReader:
    """Of `stream`, through `client`; an async context manager, for one `batches` at a time."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._inbox = client.new_inbox()
        self._arrived: list[Stored] = []
        self._ended = asyncio.Event()
        self._refused = ""
        self._left = 0
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        with suppress(nats.errors.Error):
            if self._subscription is not None:
                await self._subscription.unsubscribe()

    async def batches(
        self,
        *,
        subject: str = ">",
        sequence: int = 1,
        since: float | None = None,
        until: float | None = None,
    ) -> AsyncGenerator[Batch, None]:
        """From `sequence`, or from the first message taken at or after `since`, to the last one
        before `until` (Unix seconds), else to the end, oldest first.

        Raises PartUnavailable(part="nats") and nats errors.
        """
        begin: dict[str, object] = {"seq": max(1, sequence)}
        if since is not None:
            begin = {"start_time": datetime.fromtimestamp(max(0.0, since), UTC).isoformat()}
        while messages := await self._ask({"next_by_subj": subject, **begin}):
            kept = [m for m in messages if until is None or m.at < until]
            if kept:
                yield Batch(kept, self._left)
            if len(kept) < len(messages):
                return
            begin = {"seq": messages[-1].sequence + 1}

    async def _ask(self, where: dict[str, object]) -> list[Stored]:
        self._arrived, self._left, self._refused = [], 0, ""
        self._ended.clear()
        request = {"batch": BATCH_MESSAGES, "max_bytes": BATCH_BYTES, **where}
        await self._client.publish(
            f"$JS.API.DIRECT.GET.{self._stream}", msgspec.json.encode(request), reply=self._inbox
        )
        heard = -1
        while not self._ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_S):
                    await self._ended.wait()
                break
            if heard == len(self._arrived):
                raise _unavailable(f"did not answer within {SILENCE_S:g} s")
            heard = len(self._arrived)
        if self._refused:
            raise _unavailable(self._refused)
        return self._arrived

    async def _on_message(self, message: Msg) -> None:
        headers = message.headers or {}
        if "Nats-Sequence" in headers:
            self._arrived.append(_stored(message.data, headers))
            return
        status = headers.get("Status", "")
        if status == "204":  # the end of the batch
            self._left = int(headers.get("Nats-Num-Pending", "0"))
        elif status == "503":
            self._refused = f"nobody serves the stream {self._stream}"
        elif status != "404":  # nothing there, or nothing more
            self._refused = headers.get("Description", "") or f"answered with status {status}"
        self._ended.set()


async def _connect(client: Client, config: NatsConfig) -> None:
    said: list[str] = []

    async def note(exc: Exception) -> None:
        said[:] = [in_words(exc)]

    try:
        await client.connect(
            [url.strip() for url in config.url.split(",")],
            **login_of(config),
            allow_reconnect=False,
            # Of the first connection too: sixty, two seconds apart, unless it is told.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds; says int, takes both
            connect_timeout=CONNECT_S,
            error_cb=note,
        )
    except nats.errors.NoServersError as exc:
        raise _unavailable(said[0] if said else "no server answers") from exc
    except (OSError, TimeoutError) as exc:
        raise _unavailable(in_words(exc)) from exc


def in_words(exc: Exception) -> str:
    """Why the server could not be asked."""
    if isinstance(exc, TimeoutError | nats.errors.TimeoutError):
        return "does not answer"
    return str(exc) or type(exc).__name__


def _stored(data: bytes, headers: dict[str, str]) -> Stored:
    return Stored(
        sequence=int(headers["Nats-Sequence"]),
        subject=headers["Nats-Subject"],
        at=unix_s(headers["Nats-Time-Stamp"]),
        event_id=headers.get("Nats-Msg-Id", ""),
        data=data,
    )


def unix_s(rfc3339: str) -> float:
    """A moment as NATS says it, in Unix seconds."""
    return datetime.fromisoformat(rfc3339).timestamp()


def _unavailable(sentence: str) -> PartUnavailable:
    return PartUnavailable(f"NATS: {sentence}", part="nats")
