"""The pieces of one response as they are in EVT, and as they come then.

An ephemeral consumer in memory, pulled: what is not asked for waits in the stream, so a slow reader
costs no memory.  It is ordered: where a message is missing, or the server was away, a new one goes
on after the last piece that arrived.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, Final, NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from appliance.domain.errors import PartUnavailable
from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.pieces import STREAM, is_trace_id, piece_of, subject_of
from appliance.infra.nats.streams import request

ASK_S: Final = 20.0
HEARTBEAT_S: Final = 2.0
SILENCE_S: Final = 5.0
CREATE_S: Final = 2.0
CLOSE_S: Final = 1.0
KEPT_S: Final = 10.0  # for all there is: 64 MiB take less than a second on a machine at rest
RETRY_S: Final = 0.25
PATIENCE_S: Final = 10.0  # for a server that is away while somebody reads
IDLE_S: Final = 30.0  # a reader that asks for nothing for so long gets a new consumer
MESSAGES: Final = 16
BYTES: Final = 4 * 1024 * 1024
_SECOND: Final = 1_000_000_000
Current = Callable[[], Client | None]


class _Lost(Exception):
    """The consumer is gone, or was never made; `str()` says why."""


class _Found(NamedTuple):
    """What a message holds: None where it is no piece.  `sequence` is its place in the stream, and
    `pending` messages are behind it now."""

    sequence: int
    pending: int
    piece: Piece | None


async def follow(
    current: Current, trace_id: str, *, patience_s: float = PATIENCE_S
) -> AsyncGenerator[Piece, None]:
    """See ResponseEvents.follow; `current` is the client there is, if any.

    Raises PartUnavailable(part="nats") at once when there is no server or no stream, and later when
    it is away for longer than `patience_s`.
    """
    if not is_trace_id(trace_id):
        raise PartUnavailable("NATS: that is no trace id", part="nats")
    subject, after = subject_of(trace_id), 0
    begun, failed_at = False, 0.0
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with aclosing(_from(current, subject, after)) as found:
                async for sequence, _, piece in found:
                    begun, failed_at = True, 0.0
                    if piece is None:
                        continue
                    after = sequence
                    yield piece
                    if piece.last:
                        return
        except _Lost as exc:
            failed_at = failed_at or loop.time()
            if not begun or loop.time() - failed_at > patience_s:
                raise PartUnavailable(f"NATS: {exc}", part="nats") from exc
        await asyncio.sleep(RETRY_S)


async def kept(current: Current, trace_id: str) -> list[Piece]:
    """See ResponseEvents.kept; `current` as in `follow`.  Raises PartUnavailable(part="nats")."""
    if not is_trace_id(trace_id):
        return []
    pieces: list[Piece] = []
    try:
        async with (
            asyncio.timeout(KEPT_S),
            aclosing(_from(current, subject_of(trace_id), after=0)) as found,
        ):
            async for _, pending, piece in found:
                if piece is not None:
                    pieces.append(piece)
                if not pending:
                    break
    except (_Lost, TimeoutError) as exc:
        raise PartUnavailable(f"NATS: {str(exc) or 'too slow'}", part="nats") from exc
    return pieces


async def _from(current: Current, subject: str, after: int) -> AsyncGenerator[_Found, None]:
    """What is behind the stream's sequence `after`; first of all, that the consumer is there.
    Raises _Lost."""
    client = current()
    if client is None or not client.is_connected:
        raise _Lost("no connection")
    consumer = _Consumer(client, subject, after)
    try:
        yield _Found(after, await consumer.open(), None)
        while True:
            message = await consumer.next()
            sequence, _, pending = _numbers(message.reply)
            yield _Found(sequence, pending, piece_of(message.headers, message.data))
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        raise _Lost(str(exc) or type(exc).__name__) from exc
    finally:
        with suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await consumer.close()


class _Consumer:
    """One ephemeral pull consumer of `client`."""

    def __init__(self, client: Client, subject: str, after: int) -> None:
        self._client = client
        self._name = f"follow-{secrets.token_hex(8)}"
        self._subject = subject
        self._after = after
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._ready: deque[Msg] = deque()
        self._happened = asyncio.Event()
        self._expected = 1  # the consumer's own number of the next message
        self._asked = 0  # messages of the last request that have not arrived
        self._large = False  # the next is larger than BYTES
        self._heard_at = 0.0
        self._lost = ""
        self._reconnects = client.stats["reconnects"]

    async def open(self) -> int:
        """Have it made; how many messages wait for it.  Raises nats errors and TimeoutError."""
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._after + 1}
        config = {
            "name": self._name,
            "filter_subject": self._subject,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": round(IDLE_S * _SECOND),
            **(start if self._after else {"deliver_policy": "all"}),
        }
        self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)
        body: dict[str, Any] = {"stream_name": STREAM, "config": config}
        what = f"CONSUMER.CREATE.{STREAM}.{self._name}.{self._subject}"
        async with asyncio.timeout(CREATE_S):
            made = await request(self._client.jetstream(), what, body)
        return int(made["num_pending"])

    async def next(self) -> Msg:
        """The next message, however long it takes.  Raises _Lost and nats errors."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while not self._ready:
            if self._asked <= 0:
                await self._ask()
            self._happened.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._happened.wait()
            if self._ready:
                break
            if self._lost:
                raise _Lost(self._lost)
            self._check(loop.time())
        return self._ready.popleft()

    async def close(self) -> None:
        """The server forgets it; one that hears nothing of this does so after IDLE_S."""
        if self._subscription is None:
            return
        await self._subscription.unsubscribe()
        if self._client.is_connected:
            delete = f"$JS.API.CONSUMER.DELETE.{STREAM}.{self._name}"
            await self._client.publish(delete, reply=self._inbox)

    def _check(self, now: float) -> None:
        if not self._client.is_connected or now - self._heard_at > SILENCE_S:
            raise _Lost("does not answer")
        if self._client.stats["reconnects"] != self._reconnects:
            raise _Lost("the server knows nothing of our request any more")

    async def _ask(self) -> None:
        self._asked = 1 if self._large else MESSAGES
        body: dict[str, int] = {
            "batch": self._asked,
            "expires": round(ASK_S * _SECOND),
            "idle_heartbeat": round(HEARTBEAT_S * _SECOND),
        }
        if not self._large:
            body["max_bytes"] = BYTES
        self._large = False
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._name}"
        await self._client.publish(subject, msgspec.json.encode(body), reply=self._inbox)

    async def _on_message(self, message: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if message.reply.startswith("$JS.ACK."):
            self._asked -= 1
            if _numbers(message.reply)[1] != self._expected:
                self._lost = "a message is missing"
            elif not self._lost:
                self._expected += 1
                self._ready.append(message)
        else:
            self._on_status(message.headers or {})
        self._happened.set()

    def _on_status(self, headers: dict[str, str]) -> None:
        status = headers.get("Status", "")
        described = headers.get("Description", "")
        if status == "100":
            return
        # These end a request; everything else ends the consumer.
        if "MaxBytes" in described:
            self._large = self._asked == MESSAGES
        elif status not in ("404", "408") and "Batch Completed" not in described:
            self._lost = described or f"status {status or 'missing'}"
        self._asked = 0


def _numbers(reply: str) -> tuple[int, int, int]:
    """Of `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number>.<time>.<pending>`: the
    stream's number, the consumer's, and how many are pending; in its longer form
    `<domain>.<account>` stand before the stream, and a token behind it all."""
    tokens = reply.split(".")
    at = 7 if len(tokens) > 9 else 5
    return int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3])
