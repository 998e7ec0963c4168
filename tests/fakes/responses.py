"""The response service over parts in memory: two gateways may share them."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.domain.access.keys import Key
from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Text
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.exchange import Hit
from appliance.domain.identity import Identity
from appliance.domain.responses.ports import Piece
from appliance.domain.responses.record import (
    LIVE,
    Item,
    NewResponse,
    ResponseRequest,
    Status,
    StoredResponse,
)
from appliance.domain.responses.service import ResponseService
from appliance.domain.responses.wiring import ResponseLimits, ResponseWire
from appliance.domain.sealing import Seal
from tests.fakes.chat_backend import FakeBackend, KeptExchanges
from tests.fakes.chat_service import chat_service

LIMITS = ResponseLimits(
    hold_s=5.0,
    store_s=0.2,
    max_bytes=100_000,
    lease_s=30.0,
    max_background=2,
    total_s=10.0,
    publish_every_s=0.001,
)


class MemoryResponses:
    """A ResponseStore.  `away` refuses, `hangs` never answers; `expire` ends the leases, as does
    one of no length."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredResponse] = {}
        self.cancels: set[str] = set()
        self.away = self.hangs = False

    async def create(self, new: NewResponse, *, lease_s: float) -> None:
        await self._reach()
        self.rows.setdefault(new.id, replace(_stored(new, b""), orphaned=lease_s <= 0))

    async def keep(self, new: NewResponse, events: bytes) -> None:
        await self._reach()
        if new.id not in self.rows or self._is_live(new.id):
            self.rows[new.id] = _stored(new, events)

    async def finish(
        self, response_id: str, status: Status, resource: bytes, events: bytes
    ) -> bool:
        await self._reach()
        row = self.rows.get(response_id)
        if row is None or not (row.status in LIVE or row.resource == resource):
            return False
        self.rows[response_id] = replace(
            row, status=status, resource=resource, events=events, orphaned=False
        )
        return True

    async def get(self, response_id: str) -> StoredResponse | None:
        await self._reach()
        return self.rows.get(response_id)

    async def chain(self, response_id: str, *, most: int) -> Sequence[StoredResponse]:
        await self._reach()
        found: list[StoredResponse] = []
        while len(found) < most and (row := self.rows.get(response_id)) is not None:
            found.insert(0, replace(row, events=b""))
            response_id = row.previous_response_id
        return found

    async def delete(self, response_id: str) -> bool:
        await self._reach()
        self.cancels.discard(response_id)
        return self.rows.pop(response_id, None) is not None

    async def renew(self, ids: Sequence[str], *, lease_s: float) -> Sequence[str]:
        await self._reach()
        live = [each for each in ids if self._is_live(each)]
        for each in live:
            self.rows[each] = replace(self.rows[each], orphaned=lease_s <= 0)
        return [each for each in ids if each in self.cancels or each not in live]

    async def ask_cancel(self, response_id: str) -> bool:
        await self._reach()
        if self._is_live(response_id):
            self.cancels.add(response_id)
        return self._is_live(response_id)

    async def orphans(self, but: Sequence[str], *, most: int) -> Sequence[StoredResponse]:
        await self._reach()
        left = [row for row in self.rows.values() if row.orphaned and row.id not in but][:most]
        for row in left:
            self.rows[row.id] = replace(row, orphaned=False)
            self.cancels.add(row.id)
        return left

    def expire(self) -> None:
        """The leases of all live rows have run out."""
        for row in list(self.rows.values()):
            if row.status in LIVE:
                self.rows[row.id] = replace(row, orphaned=True)

    def _is_live(self, response_id: str) -> bool:
        return response_id in self.rows and self.rows[response_id].status in LIVE

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise PartUnavailable("PostgreSQL is away", part="postgres")


@dataclass
class MemoryEvents:
    """ResponseEvents between the gateways that share it.  `away`: nothing arrives, and nobody can
    read; `drops` loses the pieces it says yes to."""

    pieces: dict[str, list[Piece]] = field(default_factory=dict)
    away: bool = False
    drops: Callable[[Piece], bool] = lambda piece: False
    told: list[Callable[[str], None]] = field(default_factory=list)

    def publish(self, trace_id: str, piece: Piece) -> None:
        if not self.away and not self.drops(piece):
            self.pieces.setdefault(trace_id, []).append(piece)

    async def follow(self, trace_id: str) -> AsyncGenerator[Piece, None]:
        at = 0
        while True:
            if self.away:
                raise PartUnavailable("NATS is away", part="nats")
            for piece in self.pieces.get(trace_id, [])[at:]:
                at += 1
                yield piece
                if piece.last:
                    return
            await asyncio.sleep(0.002)

    async def kept(self, trace_id: str) -> Sequence[Piece]:
        await asyncio.sleep(0)
        if self.away:
            raise PartUnavailable("NATS is away", part="nats")
        return list(self.pieces.get(trace_id, ()))

    def cancel(self, trace_id: str) -> None:
        for told in self.told if not self.away else ():
            told(trace_id)

    def on_cancel(self, told: Callable[[str], None]) -> None:
        self.told.append(told)


class LineEncoder:
    """A ResponseEncoder whose frames are `data: N word` and whose resource is as small."""

    def __init__(self, response_id: str, store: bool) -> None:
        self.store = store
        self.sources: tuple[Hit, ...] | None = None
        self.count = 0
        self.status: Status = "in_progress"
        self.model = ""
        self.text = ""
        self._id = response_id
        self._closed = b""
        self._last = -1

    def named(self, model: str) -> None:
        self.model = model

    def queued(self) -> bytes:
        self.status = "queued"
        return self._frame("queued")

    def opening(self) -> bytes:
        self.status = "in_progress"
        return self._frame("opening")

    def delta(self, delta: Delta) -> bytes:
        self.text += delta.text
        return self._frame(delta.text) if delta.text else b""

    def compacting(self) -> bytes:
        return self._frame("compacting")

    def compacted(self, sealed: str) -> bytes:
        self.text = sealed
        return self._frame("compacted")

    def close(self, *, whole: bool) -> bytes:
        return self._frame("close" if whole else "cut")

    def terminal(self, error: Exception | None = None, *, cancelled: bool = False) -> bytes:
        self.status = "cancelled" if cancelled else "failed" if error else "completed"
        if self._last < 0:
            self._last, self.count = self.count, self.count + 1
        said = f" store={self.store}" + (f" {error}" if error else "")
        return f"data: {self._last} {self.status}{said}\n\n".encode()

    def resource(self) -> bytes:
        shown = {"id": self._id, "status": self.status, "store": self.store, "output": self.text}
        return json.dumps(shown).encode()

    def _frame(self, word: str) -> bytes:
        self.count += 1
        return f"data: {self.count - 1} {word}\n\n".encode()


@dataclass
class Gateway:
    """One response service, and what it recorded and reported."""

    service: ResponseService
    exchanges: KeptExchanges
    reported: list[tuple[str, BaseException]]


def gateway(
    store: MemoryResponses,
    events: MemoryEvents,
    backend: FakeBackend | None = None,
    wire: ResponseWire | None = None,
    **limits: Any,
) -> Gateway:
    """Its one model is `m`; `limits` differ from LIMITS, `wire` from WIRE."""
    sink, reported = KeptExchanges(), []

    def report(event: str, error: BaseException, identity: Identity | None = None) -> None:
        reported.append((event, error))

    service = ResponseService(
        chat_service(sink, Clock(time.time, time.monotonic), backend),
        store,
        events,
        wire or WIRE,
        replace(LIMITS, **limits),
        seal=Seal(b"a secret of the tests"),
        monotonic=time.monotonic,
        report=report,
    )
    return Gateway(service, sink, reported)


def asked(
    text: str = "hi", *, conversation: str = "", workspace: str = "", **fields: Any
) -> ResponseRequest:
    """A request for model `m` that says `text`."""
    stream = bool(fields.get("stream"))

    def continued(earlier: Sequence[Item]) -> ChatRequest:
        said = [str(item["text"]) for item in earlier]
        messages = tuple(
            Message("user", (Text(each),), {"role": "user", "content": each})
            for each in (*said, text)
        )
        request = ChatRequest("m", messages, stream=stream)
        named = Extensions(conversation=conversation, workspace=workspace)
        return replace(request, extensions=named)

    return ResponseRequest(({"text": text},), continued, "m", **fields)


def caller(trace_id: str, key: str = "") -> Caller:
    """Who asks; the correlation id is `c-` and the trace id."""
    identity = Identity(trace_id, f"c-{trace_id}")
    return Caller(identity, "openai_responses", Key(key, "") if key else None)


def words(stream: bytes) -> list[str]:
    """The frames, each without `data: ` and its number, which must be its place from the first."""
    found = [frame.decode().split(" ", 2)[1:] for frame in stream.split(b"\n\n")[:-1]]
    numbers = [int(number) for number, _ in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    return [word for _, word in found]


async def read(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """All that is left of a stream."""
    return b"".join([chunk async for chunk in chunks])


def _steps(answer: Answer) -> Iterable[Delta]:
    return [Delta(text=answer.first.text), Delta(finish_reason=answer.first.finish_reason)]


def _rebuilt(resource: bytes, events: bytes, message: str) -> tuple[bytes, bytes]:
    count = events.count(b"\n\n")
    shown = {**json.loads(resource), "status": "failed", "error": message}
    return json.dumps(shown).encode(), events + f"data: {count} failed {message}\n\n".encode()


WIRE = ResponseWire(
    encoder=lambda asked, chat, response_id, created: LineEncoder(response_id, asked.store),
    deltas_of=_steps,
    output_items=lambda resource: [{"text": json.loads(resource)["output"]}],
    rebuilt=_rebuilt,
    failure=lambda error, sequence: f"data: {sequence} error {error}\n\n".encode(),
    encoded=lambda value: json.dumps(value).encode(),
    decoded=json.loads,
)


def _stored(new: NewResponse, events: bytes) -> StoredResponse:
    fields = {name: getattr(new, name) for name in NewResponse.__slots__}
    return StoredResponse(**fields, events=events)
