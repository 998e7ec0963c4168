"""How far each durable of DURABLES is behind: for the consumer's metrics and its alarm.

Two small requests a durable, one after the other; nothing is pulled and no consumer is made.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.durables import DURABLES, Durable
from appliance.infra.nats.streams import request

MOST_S = 5.0
_CONSUMER_NOT_FOUND = 10014


@dataclass(frozen=True, slots=True)
class Lag:
    """What `durable` has not done of `subject`.  `pending`: not delivered yet; `unacked`: delivered
    and not acked; `oldest_age_s`: how long the oldest of both has been in the stream, 0 when there
    is none."""

    durable: str
    stream: str
    subject: str
    pending: int
    unacked: int
    oldest_age_s: float


async def read_lag(client: Client, wall: Callable[[], float]) -> list[Lag]:
    """One row a durable, in the order of DURABLES.  `wall` is Unix seconds, by the same clock as
    the server's; one that goes backwards makes nothing younger than new.

    A durable that is missing has everything of its subject before it, a missing stream nothing.
    Raises PartUnavailable(part="nats") after MOST_S at the latest.
    """
    js = client.jetstream(timeout=MOST_S)
    try:
        async with asyncio.timeout(MOST_S):
            return [await _read(js, durable, wall) for durable in DURABLES.values()]
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        sentence = str(exc) or type(exc).__name__
        raise PartUnavailable(f"NATS: {sentence}", part="nats") from exc


async def _read(js: JetStreamContext, durable: Durable, wall: Callable[[], float]) -> Lag:
    pending, unacked, floor = await _progress(js, durable)
    age = 0.0
    if pending or unacked:
        since = await _stored_at(js, durable, floor + 1)
        age = max(0.0, wall() - since) if since is not None else 0.0
    return Lag(durable.name, durable.stream, durable.subject, pending, unacked, age)


async def _progress(js: JetStreamContext, durable: Durable) -> tuple[int, int, int]:
    """Pending, unacked, and the sequence up to which all is acked."""
    try:
        info = await request(js, f"CONSUMER.INFO.{durable.stream}.{durable.name}", {})
    except nats.js.errors.NotFoundError as exc:
        if exc.err_code != _CONSUMER_NOT_FOUND:
            return 0, 0, 0
        return await _in_stream(js, durable), 0, 0
    return info["num_pending"], info["num_ack_pending"], info["ack_floor"]["stream_seq"]


async def _in_stream(js: JetStreamContext, durable: Durable) -> int:
    what = {"subjects_filter": durable.subject}
    info: dict[str, Any] = await request(js, f"STREAM.INFO.{durable.stream}", what)
    subjects: dict[str, int] = info["state"].get("subjects") or {}
    return sum(subjects.values())


async def _stored_at(js: JetStreamContext, durable: Durable, sequence: int) -> float | None:
    """When the first message of its subject from `sequence` on came in, Unix seconds; None: gone
    meanwhile."""
    try:
        message = await js.get_msg(
            durable.stream, sequence, durable.subject, direct=True, next=True
        )
    except nats.js.errors.NotFoundError:
        return None
    return message.time.timestamp() if message.time is not None else None
