"""The durable consumers of DURABLES on the server: made, adjusted, or refused with a sentence.

What cannot be written is counted and buried by us: a `max_deliver` of the server would only drop
it, so there is none.
"""

import logging
from typing import Any

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, ReplayPolicy

from appliance.domain.errors import ConfigError
from appliance.domain.events.durables import Durable

ACK_PENDING = 20_000
# What NATS cannot change on a consumer that exists, and what a durable of ours needs.
_FIXED: tuple[tuple[str, str, Any], ...] = (
    ("deliver_policy", "all", DeliverPolicy.ALL),
    ("ack_policy", "explicit", AckPolicy.EXPLICIT),
    ("replay_policy", "instant", ReplayPolicy.INSTANT),
    ("deliver_subject", "none: it is pulled", None),
)
_ADJUSTABLE = ("ack_wait", "max_deliver", "max_ack_pending", "backoff", "headers_only")
log = logging.getLogger("appliance.consumer")


async def ensure_durable(
    js: JetStreamContext, durable: Durable, *, ack_wait_s: float, batch: int
) -> None:
    """`durable` is on its stream, as a Pull of `batch` messages needs it.

    Raises ConfigError when one of its name cannot be made so, nats errors when the server cannot
    answer; NotFoundError when there is no stream.
    """
    wanted = ConsumerConfig(
        durable_name=durable.name,
        filter_subject=durable.subject,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=ack_wait_s,
        max_deliver=-1,
        max_ack_pending=max(ACK_PENDING, 4 * batch),
    )
    try:
        found = (await js.consumer_info(durable.stream, durable.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_consumer(durable.stream, wanted)
        return
    _refuse(durable, found)
    if found.filter_subject != durable.subject or found.filter_subjects:
        # NATS would change the filter and go on from where the consumer is: events of ours that it
        # passed by meanwhile would never come.  A new one gets them all, and writing is idempotent.
        await js.delete_consumer(durable.stream, durable.name)
        await js.add_consumer(durable.stream, wanted)
        log.warning("durable_made_again", extra={"durable": durable.name, "why": "filter_subject"})
    elif differing := [n for n in _ADJUSTABLE if _differs(found, wanted, n)]:
        changes = {name: getattr(wanted, name) for name in differing}
        await js.add_consumer(durable.stream, found.evolve(**changes))
        log.warning("durable_adjusted", extra={"durable": durable.name, "changed": differing})


def _refuse(durable: Durable, found: ConsumerConfig) -> None:
    wrong = [
        f"{name} {_shown(getattr(found, name))} (it needs {needed})"
        for name, needed, value in _FIXED
        if (getattr(found, name) or None) != value
    ]
    if wrong:
        raise ConfigError(
            f"the consumer {durable.name} on the stream {durable.stream} exists with "
            f"{', '.join(wrong)}, and NATS cannot change that: delete it, and it is made again "
            f"and reads the stream from its beginning"
        )


def _differs(found: ConsumerConfig, wanted: ConsumerConfig, name: str) -> bool:
    return (getattr(found, name) or None) != (getattr(wanted, name) or None)


def _shown(value: Any) -> str:
    return str(getattr(value, "value", value))
