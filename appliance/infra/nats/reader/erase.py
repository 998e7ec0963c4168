"""Takes every message of an id out of the streams, and the payloads they refer to.  For
`appliance forget`.

A deleted message is overwritten in its file (a purge would only let go of it), so chunks of
payloads are deleted one by one as well; that takes the server some 15 ms a message.  What a
cluster's servers wrote into their Raft logs stays there until these are compacted.

JetStream has no index over ids: the streams are read.  Every event carries its three ids, so the
one that was given finds all; a trace id of ours begins with its time, so the search begins there.
The pieces of a response in EVT have its trace id in their subject, and are found by that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from appliance.domain.events.durables import PIPELINE
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.identity import began_s
from appliance.infra.mentions import Mentions, rated_in
from appliance.infra.nats.events.pieces import RESPONSES, is_trace_id, subject_of
from appliance.infra.nats.events.pieces import STREAM as EVT
from appliance.infra.nats.objects import Payloads, ReferenceMessage, is_reference
from appliance.infra.nats.reader.range import Stored, StreamReader, state_of
from appliance.infra.nats.streams import BUCKET, PAYLOADS, TELEMETRY, request

AT_ONCE = 16
TIMEOUT_S = 5.0
# A trace id tells the time of a gateway's clock, a message that of NATS's.
CLOCKS_S = 3600.0
_GONE = frozenset((10037, 10043))  # no such message: it was deleted, or aged out, in between
_reference = msgspec.json.Decoder(ReferenceMessage)
Progress = Callable[[str, int, int], None]


class _Description(msgspec.Struct):
    """Of an object; its chunks are on `$O.<bucket>.C.<nuid>`, the nuid being
    `<the same for all attempts>.<its own>`."""

    name: str
    nuid: str = ""


_description = msgspec.json.Decoder(_Description)


@dataclass(slots=True)
class Erased:
    """Messages by stream; `payloads` counts objects."""

    messages: dict[str, int] = field(default_factory=dict)
    payloads: int = 0


class Eraser:
    """Of `identifier`, as far as it was asked `until` then (Unix seconds), and its exchanges
    `traces`, as far as these are known; `progress` is told what was done with how many messages,
    and how many follow."""

    def __init__(
        self,
        client: Client,
        identifier: str,
        traces: Collection[str],
        *,
        until: float,
        progress: Progress,
    ) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=TIMEOUT_S)
        self._traces = {identifier, *traces}
        self._concerns = Mentions(identifier, until)
        self._since = _begin(identifier, until)
        self._progress = progress
        self._objects: set[str] = set()

    async def erase(self, sequences: Sequence[int] = ()) -> Erased:
        """Payloads first: once the messages are gone, nothing leads to them.  Doing so again
        changes nothing.  `sequences` are those of PIPELINE that rows knew of.

        Raises PartUnavailable(part="nats") and nats errors; then it is to be done again.
        """
        found = {stream: await self._find(stream) for stream in (PIPELINE, TELEMETRY)}
        await self._find_by_sequence(found[PIPELINE], sequences)
        found[EVT] = await self._find_pieces()
        erased = Erased(payloads=await self._erase_payloads())
        for stream, these in found.items():
            erased.messages[stream] = await self._delete(stream, sorted(these))
        return erased

    async def _find(self, stream: str) -> set[int]:
        found: set[int] = set()
        if await state_of(self._client, stream) is None:
            return found
        read = 0
        async with StreamReader(self._client, stream) as reader:
            async for batch in reader.batches(since=self._since):
                for stored in batch.messages:
                    if self._note(stored):
                        found.add(stored.sequence)
                read += len(batch.messages)
                self._progress(f"searched in {stream}", read, batch.left)
        return found

    def _note(self, stored: Stored) -> bool:
        """Is it one of his?  Then keep in mind what it refers to."""
        trace_id = stored.event_id.partition(":")[0]
        his = trace_id in self._traces or self._concerns(stored.data)
        if not his and stored.subject == FEEDBACK:  # also on one that no other id leads to
            his = rated_in(stored.data) in self._traces
        if not his:
            return False
        if trace_id:
            self._traces.add(trace_id)
        if is_reference(stored.data):
            self._objects.add(_reference.decode(stored.data).payload_ref.object)
        return True

    async def _find_by_sequence(self, found: set[int], sequences: Sequence[int]) -> None:
        """Where the clocks were further apart than the search allows for, the rows know better."""
        state = await state_of(self._client, PIPELINE)
        if state is None:
            return
        within = range(state.first_sequence, state.last_sequence + 1)
        async with StreamReader(self._client, PIPELINE) as reader:
            for sequence in sequences:
                if sequence in found or sequence not in within:
                    continue
                async with aclosing(reader.batches(sequence=sequence)) as batches:
                    batch = await anext(batches, None)
                first = batch.messages[0] if batch is not None else None
                if first is not None and first.sequence == sequence and self._note(first):
                    found.add(sequence)

    async def _find_pieces(self) -> set[int]:
        """Of responses, by the traces that are known by now."""
        found: set[int] = set()
        subjects = {subject_of(trace) for trace in self._traces if is_trace_id(trace)}
        async with StreamReader(self._client, EVT) as reader:
            for subject in sorted(subjects & await self._subjects()):
                async for batch in reader.batches(subject=subject):
                    found.update(stored.sequence for stored in batch.messages)
        return found

    async def _subjects(self) -> set[str]:
        """Those EVT has messages of responses on: of the last hour's."""
        subjects: set[str] = set()
        while True:
            try:
                page = {"subjects_filter": RESPONSES, "offset": len(subjects)}
                answer = await request(self._js, f"STREAM.INFO.{EVT}", page)
            except nats.js.errors.NotFoundError:
                return subjects
            more = answer["state"].get("subjects") or {}
            subjects |= more.keys()
            if not more or len(subjects) >= answer.get("total", 0):
                return subjects

    async def _erase_payloads(self) -> int:
        """Objects are named by event ids, which begin with the trace id."""
        if await state_of(self._client, PAYLOADS.name) is None:
            return 0
        payloads = Payloads(self._js)
        erased = 0
        async with StreamReader(self._client, PAYLOADS.name) as reader:
            descriptions = [d async for d in self._descriptions(reader)]
            for sequence, description in descriptions:
                attempts = description.nuid.partition(".")[0]
                chunks = f"$O.{BUCKET}.C.{attempts}.>"
                async for batch in reader.batches(subject=chunks):
                    await self._delete(PAYLOADS.name, [m.sequence for m in batch.messages])
                erased += await self._delete(PAYLOADS.name, [sequence])
        for name in self._objects:
            await payloads.remove(name)  # what a broken attempt left without a description
        return erased

    async def _descriptions(self, reader: StreamReader) -> AsyncIterator[tuple[int, _Description]]:
        async for batch in reader.batches(subject=f"$O.{BUCKET}.M.>"):
            for stored in batch.messages:
                try:
                    description = _description.decode(stored.data)
                except msgspec.DecodeError:
                    continue
                name = description.name
                if name in self._objects or name.partition(":")[0] in self._traces:
                    yield stored.sequence, description

    async def _delete(self, stream: str, sequences: Sequence[int]) -> int:
        """How many there were."""
        deleted = 0
        for start in range(0, len(sequences), AT_ONCE):
            some = sequences[start : start + AT_ONCE]
            deleted += sum(await asyncio.gather(*(self._delete_one(stream, n) for n in some)))
            done = start + len(some)
            self._progress(f"deleted from {stream}", done, len(sequences) - done)
        return deleted

    async def _delete_one(self, stream: str, sequence: int) -> bool:
        try:
            return await self._js.delete_msg(stream, sequence)  # overwrites it
        except nats.js.errors.APIError as exc:
            if exc.err_code in _GONE:
                return False
            raise


def _begin(identifier: str, now: float) -> float | None:
    """When the exchange of a trace id of ours began, in Unix seconds; None for any other id.
    Callers send 32 digits too, which tell a time that has not come yet more often than not."""
    begun = began_s(identifier)
    return None if begun is None or begun >= now + CLOCKS_S else max(0.0, begun - CLOCKS_S)
