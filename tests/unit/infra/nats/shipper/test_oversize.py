import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats.errors

from appliance.domain.events.chat import PERSIST
from appliance.infra.nats.shipper.messages import Message, messages_of
from appliance.infra.nats.shipper.oversize import Oversize
from appliance.infra.spool.journal import Ticket
from tests.fakes.exchanges import exchange
from tests.fakes.tickets import ticket


class Bucket:
    """An object store in memory that fails `failures` times first."""

    def __init__(self, failures: int = 0, reference: bytes = b"{}") -> None:
        self.objects: dict[str, bytes] = {}
        self.opened = 0
        self.open_now = 0
        self.failures = failures
        self.reference = reference

    @asynccontextmanager
    async def store(self) -> AsyncIterator["Bucket"]:
        self.opened += 1
        self.open_now += 1
        try:
            yield self
        finally:
            self.open_now -= 1

    async def put(self, body: Mapping[str, Any], data: bytes) -> bytes:
        if self.failures:
            self.failures -= 1
            raise nats.errors.TimeoutError
        self.objects[body["event_id"]] = data
        return self.reference


class Lane:
    """An Oversize at work, and what came out of it."""

    def __init__(self, bucket: Bucket) -> None:
        self.ready: list[tuple[Ticket, list[Message]]] = []
        self.given_up: list[tuple[Ticket, str]] = []
        self.said: list[str] = []
        self._arrived = asyncio.Event()
        self.oversize = Oversize(
            bucket.store, ready=self._on_ready, given_up=self._on_given_up, say=self.said.append
        )

    def _on_ready(self, ticket: Ticket, messages: list[Message]) -> None:
        self.ready.append((ticket, messages))
        self._arrived.set()

    def _on_given_up(self, ticket: Ticket, reason: str) -> None:
        self.given_up.append((ticket, reason))
        self._arrived.set()

    async def drain(self) -> None:
        """Work until nothing waits."""
        work = asyncio.create_task(self.oversize.run())
        while len(self.oversize):
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), 60)
        await asyncio.sleep(0)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


def _limit(number: int, size: int) -> int:
    """Between the largest message of the exchange and its second largest."""
    sizes = sorted(message.size for message in messages_of(exchange(number, size=size)))
    return sizes[-1] - 1


async def test_what_is_too_large_goes_by_reference_and_the_rest_as_it_is(tmp_path: Path) -> None:
    bucket = Bucket(reference=b'{"ref":1}')
    lane = Lane(bucket)
    large = ticket(tmp_path, exchange(1, size=5000))
    lane.oversize.add(large, _limit(1, 5000))
    assert large.cold
    await lane.drain()
    [(out, messages)] = lane.ready
    assert out is large
    plain = {message.subject: message for message in messages_of(exchange(1, size=5000))}
    for message in messages:
        if message.subject == PERSIST:
            assert message.data == b'{"ref":1}'
            assert message.size < plain[PERSIST].size
            stored = json.loads(bucket.objects[message.event_id])
            assert stored == json.loads(plain[PERSIST].data)
        else:
            assert json.loads(message.data) == json.loads(plain[message.subject].data)
    assert len(messages) == len(plain)
    assert (bucket.opened, bucket.open_now) == (1, 0)


async def test_a_message_exactly_at_the_limit_goes_as_it_is(tmp_path: Path) -> None:
    bucket = Bucket()
    lane = Lane(bucket)
    lane.oversize.add(ticket(tmp_path, exchange(1, size=5000)), _limit(1, 5000) + 1)
    await lane.drain()
    assert bucket.objects == {}
    assert len(lane.ready) == 1


async def test_a_store_that_fails_makes_records_wait_and_the_next_is_tried(tmp_path: Path) -> None:
    bucket = Bucket(failures=1)
    lane = Lane(bucket)
    first, second = (ticket(tmp_path, exchange(n, size=5000)) for n in (1, 2))
    for waiting in (first, second):
        lane.oversize.add(waiting, _limit(1, 5000))
    await lane.drain()
    assert [out for out, _ in lane.ready] == [second, first]
    assert first.cold is False
    assert "a large payload waits" in lane.said[0]


async def test_what_not_even_a_reference_helps_is_given_up(tmp_path: Path) -> None:
    lane = Lane(Bucket(reference=b"x" * 9000))
    large = ticket(tmp_path, exchange(1, size=5000))
    lane.oversize.add(large, _limit(1, 5000))
    await lane.drain()
    assert lane.ready == []
    [(out, reason)] = lane.given_up
    assert out is large
    assert "even by reference" in reason


async def test_a_record_deleted_by_hand_is_given_up(tmp_path: Path) -> None:
    lane = Lane(Bucket())
    gone = ticket(tmp_path, exchange(1, size=5000))
    lane.oversize.add(gone, _limit(1, 5000))
    gone.segment.path.unlink()
    await lane.drain()
    assert [(out, reason) for out, reason in lane.given_up] == [(gone, "its segment was deleted")]


async def test_measures_that_are_too_large_are_left_out(tmp_path: Path) -> None:
    lane = Lane(Bucket())
    lane.oversize.add(ticket(tmp_path, exchange(1, size=5000)), 200)
    await lane.drain()
    [(_, messages)] = lane.ready
    assert all(message.kept and message.data == b"{}" for message in messages)
