"""A durable pull consumer as a source of batches.  Several processes may share one durable.

One request for messages is outstanding while the last batch is being written, so memory holds two
batches of this durable at most.  The client's own `fetch` starts a task and a timer for every
message; this starts none.
"""

import asyncio
from collections import deque
from contextlib import suppress

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from appliance.domain.events.delivery import Delivery
from appliance.domain.events.durables import Durable

REQUEST_S = 30.0
HEARTBEAT_S = 5.0
# Of message data, a consumer process holds at most: for each of its six durables a batch in hand
# and a request on its way, 2 * 6 * 8 MiB = 96 MiB, and beside them all one large body (`one`, and
# what is resolved by reference), whatever waits in the stream.
REQUEST_BYTES = 8 * 1024 * 1024
LARGE_REQUEST_S = 2.0
SILENCE_S = 3.0  # of a server that was asked for what it has


class PullLost(Exception):
    """The consumer is gone, or the server forgot about us: open a new one."""


class Pulled:
    """A delivery and where its ack goes.  `handed` is its place among all that the durable handed
    out, to whomever, from 1."""

    __slots__ = ("delivery", "handed", "reply")

    def __init__(self, delivery: Delivery, reply: str, handed: int) -> None:
        self.delivery = delivery
        self.reply = reply
        self.handed = handed


class Pull:
    """`durable`, which must be there; at most `batch` messages and REQUEST_BYTES a request."""

    def __init__(self, client: Client, durable: Durable, *, batch: int) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}"
        self._batch = batch
        self._inbox = client.new_inbox()
        self._ready: deque[Pulled] = deque()
        self._requested = 0  # messages of the outstanding request that have not arrived
        self._untouched = False  # nothing of the outstanding request has arrived
        self._large = False
        self._arrived = asyncio.Event()
        self._heard_at = 0.0
        self._lost = ""
        self._subscription: Subscription | None = None

    @property
    def large(self) -> bool:
        """The next message is larger than REQUEST_BYTES: `one` fetches it, `batch` cannot."""
        return self._large and not self._ready

    async def open(self) -> None:
        """Listen for what will be asked for.  Raises nats errors."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)

    async def batch(self, wait_s: float, stop: asyncio.Event) -> list[Pulled]:
        """Up to `batch` messages: waits for the first as long as it takes, then `wait_s` for
        others.

        [] when `stop` is set, whoever sets it calls `lose`; and when the next is `large`.  Raises
        PullLost.
        """
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while not self._ready and not self._large and not stop.is_set():
            await self._request()
            await self._wait(HEARTBEAT_S, 1)
            if not self._ready:
                self._check(loop.time())
        ends = loop.time() + wait_s
        while (left := ends - loop.time()) > 0 and self._requested > 0 and not self._lost:
            if len(self._ready) >= self._batch:
                break
            await self._wait(left, self._batch)
        taken = self._take(self._batch, stop)
        await self._request()
        return taken

    async def one(self, stop: asyncio.Event) -> list[Pulled]:
        """The next message whatever its size, or [] when another process took it.  Hold the lock
        for large bodies around it.  Raises PullLost."""
        loop = asyncio.get_running_loop()
        self._large = False
        await self._ask({"batch": 1, "expires": int(LARGE_REQUEST_S * 1e9)}, 1)
        ends = loop.time() + 2 * LARGE_REQUEST_S
        while not self._ready and self._requested > 0 and not self._lost and not stop.is_set():
            if (left := ends - loop.time()) <= 0:
                raise PullLost("no answer to a request")
            await self._wait(left, 1)
        return self._take(1, stop)

    async def ask(self, most: int) -> None:
        """Ask for up to `most` messages (REQUEST_BYTES at most) of those that wait now; `answered`
        has them, and only then ask again.  Not to be mixed with `batch`."""
        self._large = False
        await self._ask({"batch": most, "max_bytes": REQUEST_BYTES, "no_wait": True}, most)

    async def answered(self) -> list[Pulled]:
        """What `ask` brought, once that is all; [] when nothing waits, and when the next is
        `large`.  Raises PullLost."""
        while self._requested > 0 and not self._lost:
            heard_at = self._heard_at
            await self._wait(SILENCE_S, self._batch + 1)
            if self._requested > 0 and self._heard_at == heard_at and not self._lost:
                raise PullLost("no answer to a request")
        if self._lost:
            raise PullLost(self._lost)
        taken = list(self._ready)
        self._ready.clear()
        return taken

    def waiting(self) -> list[Pulled]:
        """What arrived and was not taken yet."""
        return list(self._ready)

    async def close(self) -> None:
        """Listen no more, and give back what was not taken; more than once changes nothing."""
        subscription, self._subscription = self._subscription, None
        with suppress(nats.errors.Error, OSError):
            if subscription is not None:
                await subscription.unsubscribe()
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

    def _take(self, most: int, stop: asyncio.Event) -> list[Pulled]:
        count = 0 if stop.is_set() else min(len(self._ready), most)
        return [self._ready.popleft() for _ in range(count)]

    async def _request(self) -> None:
        """Keep one request outstanding, as long as there is room for what it may bring."""
        if self._requested > 0 or self._large or self._lost or self._ready:
            return
        request = {
            "batch": self._batch,
            "max_bytes": REQUEST_BYTES,
            "expires": int(REQUEST_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        await self._ask(request, self._batch)

    async def _ask(self, request: dict[str, int], messages: int) -> None:
        self._requested = messages
        self._untouched = True
        await self._client.publish(self._subject, msgspec.json.encode(request), reply=self._inbox)

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
            self._untouched = False
            self._ready.append(_pulled(message))
            if self._requested <= 0 or len(self._ready) in (1, self._batch):
                self._arrived.set()
            return
        self._on_status(message.headers or {})

    def _on_status(self, headers: dict[str, str]) -> None:
        status = headers.get("Status", "")
        described = headers.get("Description", "")
        if status == "100" or "Batch Completed" in described:
            return
        self._requested = 0
        # These end a request; everything else ends the consumer.
        if "MaxBytes" in described:
            self._large = self._untouched
        elif status not in ("404", "408"):  # nothing waits, and time is up
            self._lost = described or f"status {status or 'missing'}"
        self._arrived.set()


def _pulled(message: Msg) -> Pulled:
    """`$JS.ACK.<stream>.<durable>.<deliveries>.<sequence>.<handed>…`, with `<domain>.<account>`
    before the stream in its longer form."""
    tokens = message.reply.split(".")
    stream, _, deliveries, sequence, handed = tokens[4:9] if len(tokens) > 9 else tokens[2:7]
    headers = message.headers or {}
    delivery = Delivery(
        stream=stream,
        subject=message.subject,
        sequence=int(sequence),
        deliveries=int(deliveries),
        event_id=headers.get("Nats-Msg-Id", ""),
        data=message.data,
    )
    return Pulled(delivery, message.reply, int(handed))
