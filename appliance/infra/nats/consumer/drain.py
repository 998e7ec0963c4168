"""Empties a durable once: pull what waits, write it, ack after the commit, and return.

A run of Dagster calls this where the consumer role has a worker that never ends; both settle their
batches with `settler.py`.  Nothing lasts beyond the call, and a run that is killed loses nothing:
what it had is delivered again after the durable's `ack_wait`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from appliance.config.schema import ConsumerConfig, NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.delivery import BatchWriter
from appliance.domain.events.durables import Durable
from appliance.infra.nats.connection import connect
from appliance.infra.nats.consumer.deadline import PATIENCE_S, Deadline
from appliance.infra.nats.consumer.drained import Drained, Handled, OnSettled, Sum
from appliance.infra.nats.consumer.durable import ensure_durable
from appliance.infra.nats.consumer.patient import RETRY_FIRST_S
from appliance.infra.nats.consumer.pull import Pull, Pulled, PullLost
from appliance.infra.nats.consumer.settler import Settler
from appliance.infra.nats.consumer.tally import Settled
from appliance.infra.nats.objects import Payloads
from appliance.infra.nats.streams import consumer_info

API_TIMEOUT_S = 5.0
CONFIRM_S = 2.0
GIVE_BACK_S = 1.0
# What it sent back comes again after a quarter of a second, then twice that, and so on: what takes
# more tries than fit in here is for the next run.
OWN_AGAIN_S = 15.0
log = logging.getLogger("appliance.consumer")


async def drain(
    nats: NatsConfig,
    durable: Durable,
    writer: BatchWriter,
    *,
    consumer: ConsumerConfig,
    most_events: int,
    settled: OnSettled | None = None,
    patience_s: float = PATIENCE_S,
) -> Drained:
    """Until nothing waits for `durable`, or `most_events` were pulled; the server has every ack.

    `consumer.ack_wait_s` becomes the durable's: say the same always.  `settled` is awaited after
    each commit and before its acks, with what that batch was; when it raises, the batch is not
    acked, and so does this.  Memory holds two requests (pull.REQUEST_BYTES) and one large body.
    Without a stream nothing waits.

    Raises PartUnavailable when PostgreSQL or NATS stay away for `patience_s`, ConfigError when the
    durable cannot be used.  Whatever is raised: what was not acked is delivered again, at once
    where the server can be told.
    """
    work = _Drain(durable, writer, consumer, most_events, settled, Deadline(patience_s))
    async with _connected(nats, durable, work.renewed, patience_s) as client:
        return await work.run(client, Payloads(client.jetstream(timeout=API_TIMEOUT_S)))


@asynccontextmanager
async def _connected(
    config: NatsConfig, durable: Durable, renewed: Callable[[], Awaitable[None]], patience_s: float
) -> AsyncIterator[Client]:
    if not config.url:
        raise PartUnavailable("NATS: is not configured ([nats] url)", part="nats")
    try:
        async with asyncio.timeout(patience_s) as opening:
            async with connect(config, name=durable.name, reconnected=renewed) as client:
                opening.reschedule(None)
                yield client
    except TimeoutError as exc:
        if not opening.expired():
            raise
        raise PartUnavailable("NATS: no server answers", part="nats") from exc


class _Drain:
    """One call of `drain`; the driver of its settler (see settler.Driver)."""

    stopping = False

    def __init__(
        self,
        durable: Durable,
        writer: BatchWriter,
        config: ConsumerConfig,
        most_events: int,
        on_settled: OnSettled | None,
        deadline: Deadline,
    ) -> None:
        self._durable = durable
        self._settler = Settler(durable.name, writer, config, self, time.monotonic)
        self._config = config
        self._left = most_events
        self._on_settled = on_settled
        self._deadline = deadline
        self._sum = Sum()
        self._pull: Pull | None = None
        self._pulls = 0
        self._connections = 1
        self._acked_on = 1  # the connection that all acks of the batch in hand went through
        self._unconfirmed: list[Pulled] = []
        self._unanswered: list[Pulled] = []  # committed; the server may know of them or not
        self._own: set[int] = set()  # sequences we were handed and are not done with
        self._refused: Exception | None = None  # what `settled` raised
        self._never = asyncio.Event()

    async def run(self, client: Client, payloads: Payloads) -> Drained:
        """See `drain`."""
        while True:
            try:
                async with self._opened(client) as pull:
                    await self._empty(pull, client, payloads)
                    self._sum.more = self._left <= 0 and await self._more(client)
                break
            except nats.js.errors.NotFoundError:
                break  # no stream
            except (PullLost, nats.errors.Error, OSError) as exc:
                if exc is self._refused:
                    raise
                await self._deadline.waits(_unavailable(exc), RETRY_FIRST_S)
        return self._sum.drained()

    async def renewed(self) -> None:
        """The connection is a new one."""
        self._connections += 1
        if self._pull is not None:
            self._pull.lose("the connection is new")

    @asynccontextmanager
    async def _opened(self, client: Client) -> AsyncIterator[Pull]:
        """A pull that listens; its durable is there."""
        batch, ack_wait_s = self._config.batch_messages, self._config.ack_wait_s
        js = client.jetstream(timeout=API_TIMEOUT_S)
        await ensure_durable(js, self._durable, ack_wait_s=ack_wait_s, batch=batch)
        self._pulls += 1
        self._pull = pull = Pull(client, self._durable, batch=batch)
        try:
            await pull.open()
            yield pull
        finally:
            await pull.close()

    async def _empty(self, pull: Pull, client: Client, payloads: Payloads) -> None:
        """Until nothing waits."""
        ahead = False
        while self._left > 0:
            if not ahead:
                await pull.ask(self._room)
            asked = self._room
            found = await pull.answered() or await self._not_at_once(pull, client)
            if not found:
                return
            self._deadline.well()
            self._left -= len(found)
            self._own.update(pulled.delivery.sequence for pulled in found)
            if ahead := len(found) == asked and self._left > 0:
                await pull.ask(self._room)  # it comes while these are written
            await self._settle(pull, found, payloads)
            await self._confirm(client)

    @property
    def _room(self) -> int:
        """How many messages may be asked for."""
        return min(self._left, self._config.batch_messages)

    async def _not_at_once(self, pull: Pull, client: Client) -> list[Pulled]:
        """A large one, or what we sent back ourselves and comes again soon; [] when neither is."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + OWN_AGAIN_S
        while pull.large or (loop.time() < ends and await self._own_left(client)):
            if found := await pull.one(self._never):
                return found
            await pull.ask(self._room)
            if found := await pull.answered():
                return found
        return []

    async def _settle(self, pull: Pull, found: Sequence[Pulled], payloads: Payloads) -> None:
        self._unconfirmed, self._acked_on = [], self._connections
        try:
            await self._settler.process(pull, found, payloads, nullcontext())
        except BaseException:
            with suppress(PullLost, nats.errors.Error, OSError):
                async with asyncio.timeout(GIVE_BACK_S):
                    await self._give_back(pull)
            raise

    async def _give_back(self, pull: Pull) -> None:
        """What is in hand, and what was asked for ahead."""
        await self._settler.give_back(pull)
        for pulled in await pull.answered():
            await pull.again(pulled, 0)

    async def _confirm(self, client: Client) -> None:
        """The server has the acks of the batch: it answers the last, and on one connection the
        others went before it.  Else each is sent again and has to be answered, which changes
        nothing: a server that starts takes connections, and drops acks, before it takes any.

        Raises PullLost when it does not answer: a server that was killed may not know any more
        that it handed them out, and does it again.
        """
        while self._unconfirmed:
            connection = self._connections
            try:
                last = self._unconfirmed[-1:]
                for pulled in last if connection == self._acked_on else self._unconfirmed:
                    await client.request(pulled.reply, b"+ACK", timeout=CONFIRM_S)
            except (nats.errors.Error, OSError) as exc:
                if client.is_connected and isinstance(exc, nats.errors.TimeoutError):
                    self._own.update(p.delivery.sequence for p in self._unconfirmed)
                    self._unanswered += self._unconfirmed
                    raise PullLost("an ack was not answered") from exc
                await self._deadline.waits(_unavailable(exc), RETRY_FIRST_S)
                self._acked_on = 0
                continue
            self._deadline.well()
            if self._connections == connection:
                return
            self._acked_on = 0

    async def _more(self, client: Client) -> bool:
        info = await self._info(client)
        return info["num_pending"] > 0 or await self._own_left(client)

    async def _own_left(self, client: Client) -> bool:
        """Something we are not done with may come again; not when another process is.

        A server that was killed knows of some that it handed out and not of others: those it hands
        out again, the first have their acks here.
        """
        for pulled in self._unanswered:
            await client.publish(pulled.reply)
        return bool(self._own) and (await self._info(client))["num_ack_pending"] > 0

    async def _info(self, client: Client) -> dict[str, Any]:
        return await consumer_info(client.jetstream(timeout=API_TIMEOUT_S), self._durable)

    def well(self) -> None:
        """See Patience."""
        self._deadline.well()

    async def waits(self, away: PartUnavailable, delay_s: float) -> bool:
        """See Patience: until the deadline."""
        return await self._deadline.waits(away, delay_s)

    def trouble(self, error: str) -> None:
        """See Driver."""
        log.warning("drain_waits", extra={"durable": self._durable.name, "error": error})

    async def committed(self, settled: Settled, done: Sequence[Pulled]) -> None:
        """See Driver."""
        rejected = {r.delivery.sequence for r in settled.written.rejected}
        handled = [self._handled(p) for p in done if p.delivery.sequence not in rejected]
        batch = Sum()
        for total in (batch, self._sum):
            total.retried += settled.retried
            total.buried += settled.buried
            total.add(settled.written, handled)
        if self._on_settled is not None and done:
            try:
                await self._on_settled(batch.drained())
            except Exception as exc:
                self._refused = exc
                raise
        self._unconfirmed += done
        self._own.difference_update(pulled.delivery.sequence for pulled in done)

    def _handled(self, pulled: Pulled) -> Handled:
        delivery = pulled.delivery
        # First deliveries come in the order of the stream: two that the durable handed out in
        # direct succession have no event of the subject between them.
        place = pulled.handed if delivery.deliveries == 1 else 0
        return Handled(delivery.sequence, self._pulls, place, delivery.data)


def _unavailable(exc: Exception) -> PartUnavailable:
    return PartUnavailable(f"NATS: {str(exc) or type(exc).__name__}", part="nats")
