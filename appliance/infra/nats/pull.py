"""A durable pull consumer as a source of batches.  Several processes may share one durable.

One request for messages is outstanding while the last batch is being written, so memory holds two
batches at most.  The client's own `fetch` starts a task and a timer for every message; this starts
none.
"""

import asyncio
from collections import deque
from contextlib import suppress

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from appliance.domain.events.delivery import Delivery

REQUEST_S = 30.0
HEARTBEAT_S = 5.0
REQUEST_BYTES = 64 * 1024 * 1024
ACK_PENDING = 20_000


class PullLost(Exception):
    """The consumer is gone, or the server forgot about us: open a new one."""


class Pulled:
    """A delivery and where its ack goes."""

    __slots__ = ("delivery", "reply")

    def __init__(self, delivery: Delivery, reply: str) -> None:
        self.delivery = delivery
        self.reply = reply


class Pull:
    """`durable` on `stream`, filtered to `subject`; at most `batch` messages a request."""

    def __init__(
        self, client: Client, stream: str, durable: str, subject: str, *, batch: int
    ) -> None:
        self._client = client
        self._stream = stream
        self._durable = durable
        self._subject = subject
        self._batch = batch
        self._inbox = client.new_inbox()
        self._ready: deque[Pulled] = deque()
        self._requested = 0
        self._arrived = asyncio.Event()
        self._heard_at = 0.0
        self._lost = ""
        self._subscription: Subscription | None = None

    async def open(self, ack_wait_s: float) -> None:
        """Create or adjust the durable and listen.  Raises nats errors."""
        # What cannot be written is counted and buried by us: a limit of the server would only drop
        # it.
        config = ConsumerConfig(
            durable_name=self._durable,
            filter_subject=self._subject,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=ack_wait_s,
            max_deliver=-1,
            max_ack_pending=max(ACK_PENDING, 4 * self._batch),
        )
        await self._client.jetstream(timeout=5).add_consumer(self._stream, config)
        self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)

    async def batch(self, wait_s: float, stop: asyncio.Event) -> list[Pulled]:
        """Up to `batch` messages: waits for the first as long as it takes, then `wait_s` for
        others.

        [] when `stop` is set; whoever sets it calls `lose`.  Raises PullLost.
        """
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while not self._ready and not stop.is_set():
            await self._request()
            await self._wait(HEARTBEAT_S, 1)
            if not self._ready:
                self._check(loop.time())
        ends = loop.time() + wait_s
        while (left := ends - loop.time()) > 0 and not self._lost:
            if len(self._ready) >= self._batch:
                break
            await self._wait(left, self._batch)
        count = 0 if stop.is_set() else min(len(self._ready), self._batch)
        taken = [self._ready.popleft() for _ in range(count)]
        await self._request()
        return taken

    def waiting(self) -> list[Pulled]:
        """What arrived and was not taken yet."""
        return list(self._ready)

    async def close(self) -> None:
        """Listen no more, and give back what was not taken."""
        with suppress(nats.errors.Error, OSError):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            while self._ready:
                await self.again(self._ready.popleft(), 0)

    def lose(self, reason: str) -> None:
        """The connection was new in between: the server knows nothing of our request."""
        self._lost = reason
        self._arrived.set()

    async def ack(self, pulled: Pulled) -> None:
        """It is committed."""
        await self._client.publish(pulled.reply)

    async def again(self, pulled: Pulled, delay_s: float) -> None:
        """Deliver it once more, not before `delay_s`."""
        nak = b'-NAK {"delay": %d}' % round(delay_s * 1e9) if delay_s else b"-NAK"
        await self._client.publish(pulled.reply, nak)

    async def working(self, pulled: Pulled) -> None:
        """It takes longer: do not deliver it to anybody else yet."""
        await self._client.publish(pulled.reply, b"+WPI")

    async def never(self, pulled: Pulled) -> None:
        """It is dealt with; never deliver it again."""
        await self._client.publish(pulled.reply, b"+TERM")

    async def _request(self) -> None:
        if self._requested > 0 or self._lost or len(self._ready) >= self._batch:
            return
        self._requested = self._batch
        request = {
            "batch": self._batch,
            "max_bytes": REQUEST_BYTES,
            "expires": int(REQUEST_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._client.publish(subject, msgspec.json.encode(request), reply=self._inbox)

    async def _wait(self, timeout_s: float, count: int) -> None:
        """Until `count` messages are ready, something else happened, or `timeout_s` is over."""
        self._arrived.clear()
        if self._lost or len(self._ready) >= count:
            return
        timer = asyncio.get_running_loop().call_later(timeout_s, self._arrived.set)
        await self._arrived.wait()
        timer.cancel()

    def _check(self, now: float) -> None:
        if self._lost:
            raise PullLost(self._lost)
        if now - self._heard_at > 3 * HEARTBEAT_S:
            raise PullLost("no heartbeat")

    async def _on_message(self, message: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if message.reply.startswith("$JS.ACK."):
            self._requested -= 1
            self._ready.append(_pulled(message))
            if len(self._ready) in (1, self._batch):
                self._arrived.set()
            return
        headers = message.headers or {}
        status = headers.get("Status", "")
        described = headers.get("Description", "")
        if status == "100" or "Batch Completed" in described:
            return
        self._requested = 0
        # These two end a request; everything else ends the consumer.
        if status != "408" and "MaxBytes" not in described:
            self._lost = described or f"status {status or 'missing'}"
        self._arrived.set()


def _pulled(message: Msg) -> Pulled:
    """`$JS.ACK.<stream>.<durable>.<deliveries>.<sequence>…`, with `<domain>.<account>` before the
    stream in its longer form."""
    tokens = message.reply.split(".")
    stream, _, deliveries, sequence = tokens[4:8] if len(tokens) > 9 else tokens[2:6]
    headers = message.headers or {}
    delivery = Delivery(
        stream=stream,
        subject=message.subject,
        sequence=int(sequence),
        deliveries=int(deliveries),
        event_id=headers.get("Nats-Msg-Id", ""),
        data=message.data,
    )
    return Pulled(delivery, message.reply)
