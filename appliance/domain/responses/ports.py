"""What keeping responses needs from outside: a table, a stream of events, and a wire."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.domain.conversation.stream import Delta
from appliance.domain.events.exchange import Hit
from appliance.domain.responses.record import NewResponse, Status, StoredResponse


class ResponseStore(Protocol):
    """The table `api_responses`.  Every method raises PartUnavailable(part="postgres")."""

    async def create(self, new: NewResponse, *, lease_s: float) -> None:
        """A live row, leased to the caller for `lease_s`."""

    async def keep(self, new: NewResponse, events: bytes) -> None:
        """A row of a response that is whole already."""

    async def finish(
        self, response_id: str, status: Status, resource: bytes, events: bytes
    ) -> bool:
        """A live row becomes whole; False where there is none any more: it was deleted, or taken
        for an orphan."""

    async def get(self, response_id: str) -> StoredResponse | None:
        """With its events."""

    async def chain(self, response_id: str, *, most: int) -> Sequence[StoredResponse]:
        """It and those it continues, oldest first, without events; fewer where one of them is gone
        or there are more than `most`: then the first still names a previous one.  Empty without
        the row."""

    async def delete(self, response_id: str) -> bool:
        """False where there is none."""

    async def renew(self, ids: Sequence[str], *, lease_s: float) -> Sequence[str]:
        """Renew the leases of live rows; those of `ids` that somebody asked to cancel, or that are
        not live any more."""

    async def ask_cancel(self, response_id: str) -> bool:
        """Leave word for whoever produces it; False where it is not live."""

    async def orphans(self, but: Sequence[str], *, most: int) -> Sequence[StoredResponse]:
        """Live rows whose lease has run out, without events, save those of the ids `but`: the
        caller's own, which it may have been too busy or frozen to renew.  They are leased to the
        caller for a while, and whoever produces one after all is asked to cancel it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some frames of a response's stream, the first of which has the sequence number `first`;
    after the `last` piece comes nothing."""

    first: int
    frames: bytes
    last: bool = False


class ResponseEvents(Protocol):
    """The stream `EVT` and the subjects `cancel.>`, between gateways."""

    def publish(self, trace_id: str, piece: Piece) -> None:
        """Send it, now or when the server is back, bounded; never waits and never raises."""

    def follow(self, trace_id: str) -> AsyncGenerator[Piece, None]:
        """The pieces from the first one that is kept, then as they come; ends after the last one.

        Raises PartUnavailable(part="nats").
        """

    async def kept(self, trace_id: str) -> Sequence[Piece]:
        """The pieces there are now, in order: it waits for no others.

        Raises PartUnavailable(part="nats") where not all of them were to be had: they may be
        there later.
        """

    def cancel(self, trace_id: str) -> None:
        """Tell whoever produces it; never waits and never raises."""

    def on_cancel(self, told: Callable[[str], None]) -> None:
        """Have `told(trace_id)` called for every cancel any gateway sends."""


class ResponseEncoder(Protocol):
    """Writes one response in its wire; presentation implements it.  Every frame has the next
    sequence number, from 0.  `store` is what the resource says of itself: it may turn False as
    long as the terminal frame is not written.  `sources` are those of its knowledge; None adds
    nothing to the resource."""

    store: bool
    sources: tuple[Hit, ...] | None

    @property
    def count(self) -> int:
        """How many frames have been written."""

    def named(self, model: str) -> None:
        """The name routing settled on, for a client that named no model."""

    def queued(self) -> bytes:
        """The frames of a response that waits to be produced: created and queued.  Of a background
        one alone, before `opening`."""

    def opening(self) -> bytes:
        """The frames before anything is said: created (unless queued) and in progress."""

    def delta(self, delta: Delta) -> bytes:
        """The frames of one step; empty when it has nothing for this client."""

    def compacting(self) -> bytes:
        """The frames of a step of a summary, in place of `delta`."""

    def compacted(self, sealed: str) -> bytes:
        """The frames of a whole summary, after its steps."""

    def close(self, *, whole: bool) -> bytes:
        """The frames that close what is open; not `whole`: something ended it early."""

    def terminal(self, error: Exception | None = None, *, cancelled: bool = False) -> bytes:
        """The last frame: completed, incomplete, failed (with `error`) or cancelled.  May be
        written anew where `store` has changed meanwhile: it keeps its number."""

    @property
    def status(self) -> Status:
        """As the resource says it."""

    def resource(self) -> bytes:
        """The resource as it is now: JSON."""
