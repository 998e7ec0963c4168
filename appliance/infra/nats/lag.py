"""How far each subject of DURABLES is behind: for metrics, the alarm and `/ready`.

Two drivers write its rows, the consumer role and Dagster, each with a durable of its own; either is
enough, so the one that is further counts.  Three small requests a subject at most, one after the
other; nothing is pulled and no consumer is made.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.durables import DURABLES, Durable, of_dagster
from appliance.infra.nats.streams import consumer_info, request

MOST_S = 5.0
_CONSUMER_NOT_FOUND = 10014


@dataclass(frozen=True, slots=True)
class Lag:
    """What nobody has done of `subject` yet; `durable` is its name in DURABLES, whichever driver is
    further.  `pending`: not delivered yet; `unacked`: delivered and not acked; `oldest_age_s`: how
    long the oldest of both has been in the stream, 0 when there is none."""

    durable: str
    stream: str
    subject: str
    pending: int
    unacked: int
    oldest_age_s: float


@dataclass(frozen=True, slots=True)
class _Progress:
    """Of one durable; all up to the sequence `floor` is acked."""

    pending: int
    unacked: int
    floor: int

    @property
    def done(self) -> tuple[bool, int, int]:
        """Greater is further.  A floor stays where the last ack was, so whoever has nothing left
        comes before any floor."""
        left = self.pending + self.unacked
        return not left, self.floor, -left


async def read_lag(
    client: Client,
    wall: Callable[[], float],
    durables: Iterable[Durable] = tuple(DURABLES.values()),
) -> list[Lag]:
    """One row for each of `durables`, which are rows of DURABLES, in their order.  `wall` is Unix
    seconds, by the same clock as the server's; one that goes backwards makes nothing younger than
    new.

    A durable that is missing is a driver that is not there; without any, everything of the subject
    waits; without a stream, nothing.  Raises PartUnavailable(part="nats") after MOST_S at the
    latest.
    """
    js = client.jetstream(timeout=MOST_S)
    try:
        async with asyncio.timeout(MOST_S):
            return [await _read(js, durable, wall) for durable in durables]
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        sentence = str(exc) or type(exc).__name__
        raise PartUnavailable(f"NATS: {sentence}", part="nats") from exc


async def _read(js: JetStreamContext, durable: Durable, wall: Callable[[], float]) -> Lag:
    furthest = await _furthest(js, durable)
    pending, unacked, age = furthest.pending, furthest.unacked, 0.0
    if pending or unacked:
        since = await _stored_at(js, durable, furthest.floor + 1)
        age = max(0.0, wall() - since) if since is not None else 0.0
    return Lag(durable.name, durable.stream, durable.subject, pending, unacked, age)


async def _furthest(js: JetStreamContext, durable: Durable) -> _Progress:
    """Of the drivers that are there."""
    found = [await _progress(js, driver) for driver in (durable, of_dagster(durable))]
    there = [progress for progress in found if progress is not None]
    if not there:
        return _Progress(await _in_stream(js, durable), 0, 0)
    return max(there, key=lambda progress: progress.done)


async def _progress(js: JetStreamContext, durable: Durable) -> _Progress | None:
    """None: it does not exist.  Without its stream it has nothing to do."""
    try:
        info = await consumer_info(js, durable)
    except nats.js.errors.NotFoundError as exc:
        return None if exc.err_code == _CONSUMER_NOT_FOUND else _Progress(0, 0, 0)
    return _Progress(info["num_pending"], info["num_ack_pending"], info["ack_floor"]["stream_seq"])


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
