"""What waits for a durable, asked in a few milliseconds: for the sensors of Dagster."""

from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.domain.events.durables import Durable
from appliance.infra.nats.consumer.durable import ensure_durable
from appliance.infra.nats.reader.range import unix_s, visit
from appliance.infra.nats.streams import consumer_info

API_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """`pending`: not handed out yet; `unacked`: handed out and not acked.  `abandoned`: there are
    unacked ones, and nobody was handed anything for `ack_wait_s`: whoever asks gets them.
    `missing`: why nothing is known, "" when something is."""

    pending: int = 0
    unacked: int = 0
    abandoned: bool = False
    missing: str = ""


async def backlog(nats: NatsConfig, durable: Durable, *, ack_wait_s: float) -> Backlog:
    """One look over a connection of its own.  Makes `durable` when it is missing, with
    `ack_wait_s`; one that exists is left as it is."""
    try:
        async with visit(nats) as client:
            return await _look(client.jetstream(timeout=API_TIMEOUT_S), durable, ack_wait_s)
    except (PartUnavailable, ConfigError) as exc:
        return Backlog(missing=str(exc))
    except TimeoutError:
        return Backlog(missing="NATS: does not answer")


async def _look(js: JetStreamContext, durable: Durable, ack_wait_s: float) -> Backlog:
    try:
        try:
            info = await consumer_info(js, durable)
        except nats.js.errors.NotFoundError:
            await ensure_durable(js, durable, ack_wait_s=ack_wait_s, batch=1)
            info = await consumer_info(js, durable)
    except nats.js.errors.NotFoundError:
        return Backlog(missing=f"there is no stream {durable.stream} yet")
    unacked: int = info["num_ack_pending"]
    abandoned = unacked > 0 and _idle_s(info) > ack_wait_s
    return Backlog(info["num_pending"], unacked, abandoned)


def _idle_s(info: dict[str, Any]) -> float:
    """Since somebody was handed a message, by the server's clock alone; for ever when that was
    before the server started."""
    last: str = info["delivered"].get("last_active") or ""
    return unix_s(info["ts"]) - unix_s(last) if last else float("inf")
