"""The frames of one response in their order, written by its scribe.  Called by `production.py`."""

from appliance.domain.chat.turn import Turn
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import ApplianceError
from appliance.domain.responses.ports import Scribe
from appliance.domain.responses.record import Status


class Cancelled(ApplianceError):
    """Somebody asked to cancel a response, or its client left."""


class Writing:
    """Each of its frames is written once; the terminal one may be written anew where it is not
    stored after all."""

    def __init__(self, scribe: Scribe, turn: Turn, *, store: bool) -> None:
        scribe.store = store
        self.scribe = scribe
        self._turn = turn
        self._opened = False
        self._named = False

    @property
    def count(self) -> int:
        """How many frames there are."""
        return self.scribe.count

    @property
    def status(self) -> Status:
        """As the resource says it."""
        return self.scribe.status

    def resource(self) -> bytes:
        """As it is now."""
        return self.scribe.resource()

    def unstored(self) -> None:
        """The resource says so from here on."""
        self.scribe.store = False

    def step(self, delta: Delta) -> bytes:
        """The frames of one step, after those that open the stream; empty when it says nothing."""
        if self._named:
            return self.scribe.delta(delta)
        return self.opening() + self.scribe.delta(delta)

    def opening(self, *, named: bool = True) -> bytes:
        """The frames before everything else, unless they are written; not `named`: whom routing
        settles on is not known yet."""
        if named and not self._named:
            self._named = True
            self.scribe.named(self._turn.plan.selected if self._turn.plan else "")
        if self._opened:
            return b""
        self._opened = True
        return self.scribe.opening()

    def closing(self) -> bytes:
        """The frames before the terminal one."""
        frames = self.opening() + self.scribe.close()
        found = self._turn.retrieval
        if found is not None and not self._turn.transparent:
            self.scribe.sources = found.hits
        return frames

    def terminal(self, error: Exception | None) -> bytes:
        """The last frame; `error` is what ended it early."""
        if isinstance(error, Cancelled):
            return self.scribe.terminal(cancelled=True)
        return self.scribe.terminal(error)
