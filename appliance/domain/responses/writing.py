"""The frames of one response in their order, written by its scribe.  Called by `production.py`."""

from appliance.domain.chat.turn import Turn
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import ApplianceError
from appliance.domain.responses.compaction import sealed, wordless
from appliance.domain.responses.ports import Scribe
from appliance.domain.responses.record import Status
from appliance.domain.sealing import Seal


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

    def closing(self, error: Exception | None) -> bytes:
        """The frames before the terminal one; `error` is what ended it early."""
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


class SummaryWriting(Writing):
    """Of a compaction: what the model says is the summary, which goes out sealed when it is whole;
    of thoughts, and of a call that was not offered, nothing does."""

    def __init__(self, scribe: Scribe, turn: Turn, *, store: bool, seal: Seal) -> None:
        super().__init__(scribe, turn, store=store)
        self._seal = seal
        self._said: list[str] = []

    def step(self, delta: Delta) -> bytes:
        """See Writing."""
        frames = super().step(Delta(usage=delta.usage))
        if not delta.text or delta.index:
            return frames
        self._said.append(delta.text)
        return frames + self.scribe.compacting()

    def closing(self, error: Exception | None) -> bytes:
        """See Writing."""
        frames = super().closing(error)
        if error is not None or not self._summary:
            return frames
        return frames + self.scribe.compacted(sealed(self._seal, self._summary))

    def terminal(self, error: Exception | None) -> bytes:
        """See Writing."""
        if error is None and not self._summary:
            error = wordless(self._turn)
        return super().terminal(error)

    @property
    def _summary(self) -> str:
        return "".join(self._said).strip()
