"""Finds an exchange's event in the PIPELINE stream, by direct get: no consumer is made.  For
`appliance trace`.

JetStream has no index over ids: a trace id tells when to begin (it starts with its time), a
correlation id does not.  The search is bounded in messages and in time, and says when it was cut
short.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from appliance.config.schema import NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.infra.nats.streams import PIPELINE

DURABLE = "chat_persist"
BATCH = 500
MOST_MESSAGES = 500_000
MOST_S = 15.0
SILENCE_S = 3.0
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """One message; `consumed`: the consumer has acked it."""

    sequence: int
    data: bytes
    consumed: bool


@dataclass(frozen=True, slots=True)
class Search:
    """`complete`: all of the stream that could hold it was looked through."""

    found: list[Stored]
    complete: bool


async def find_in_stream(config: NatsConfig, identifier: str, *, unconsumed: bool) -> Search:
    """Persist events that mention `identifier` (the caller compares the ids), oldest first; with
    `unconsumed` only what the consumer has not acked.  Raises PartUnavailable(part="nats")."""
    try:
        async with _connected(config) as client:
            js = client.jetstream(timeout=3)
            acked = 0
            with suppress(nats.js.errors.NotFoundError):
                floor = (await js.consumer_info(PIPELINE, DURABLE)).ack_floor
                acked = floor.stream_seq if floor is not None else 0
            begin: dict[str, object] = _begin(identifier)
            if unconsumed or not begin:
                begin = {"seq": acked + 1 if unconsumed else 1}
            return await _Scan(client, identifier.encode(), acked).run(begin)
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        sentence = str(exc) or type(exc).__name__
        raise PartUnavailable(f"NATS: {sentence}", part="nats") from exc


def _begin(identifier: str) -> dict[str, object]:
    """Where a trace id of ours can be, from its first 48 bits: milliseconds of its beginning."""
    if not _TRACE_ID.fullmatch(identifier):
        return {}
    begun = int(identifier[:12], 16) / 1000 - _SLACK_S
    try:
        return {"start_time": datetime.fromtimestamp(begun, UTC).isoformat()}
    except (ValueError, OverflowError, OSError):
        return {}


@asynccontextmanager
async def _connected(config: NatsConfig) -> AsyncIterator[Client]:
    if not config.url:
        raise PartUnavailable("NATS: is not configured ([nats] url)", part="nats")
    client = await nats.connect(
        config.url.split(","),
        token=config.token or None,
        allow_reconnect=False,
        connect_timeout=3,
        error_cb=_ignore,
    )
    try:
        yield client
    finally:
        with suppress(Exception):
            await asyncio.wait_for(client.close(), 2)


async def _ignore(_: Exception) -> None:
    """What matters is raised where it is awaited."""


class _Scan:
    """Batches of direct gets, one after the other."""

    def __init__(self, client: Client, wanted: bytes, acked: int) -> None:
        self._client = client
        self._wanted = wanted
        self._acked = acked
        self._found: list[Stored] = []
        self._seen = 0
        self._last = 0

    async def run(self, begin: dict[str, object]) -> Search:
        """Until the end of the stream, or one of the limits."""
        inbox = self._client.new_inbox()
        arrived = await self._client.subscribe(inbox)
        deadline = asyncio.get_running_loop().time() + MOST_S
        while self._seen < MOST_MESSAGES and asyncio.get_running_loop().time() < deadline:
            request = {"batch": BATCH, "next_by_subj": PERSIST, **begin}
            await self._client.publish(
                f"$JS.API.DIRECT.GET.{PIPELINE}", msgspec.json.encode(request), reply=inbox
            )
            before = self._seen
            while self._note(await arrived.next_msg(timeout=SILENCE_S)):
                pass
            if self._seen == before:
                return Search(self._found, complete=True)
            begin = {"seq": self._last + 1}
        return Search(self._found, complete=False)

    def _note(self, message: Msg) -> bool:
        """False when `message` ends the batch: 204 the end, 404 nothing there, 503 no stream."""
        headers = message.headers or {}
        if "Status" in headers or "Nats-Sequence" not in headers:
            return False
        self._seen += 1
        self._last = int(headers["Nats-Sequence"])
        if self._wanted in message.data:
            consumed = self._last <= self._acked
            self._found.append(Stored(self._last, message.data, consumed))
        return True
