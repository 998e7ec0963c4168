"""The frames of one response in their order, written by its encoder.  Called by `production.py`."""

from appliance.domain.chat.turn import Turn
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import ApplianceError
from appliance.domain.responses.compaction import sealed, unusable
from appliance.domain.responses.ports import ResponseEncoder
from appliance.domain.sealing import Seal


class Cancelled(ApplianceError):
    """Somebody asked to cancel a response, or its client left."""


class FrameWriter:
    """Each of its frames is written once; the terminal one may be written anew where it is not
    stored after all."""

    def __init__(self, encoder: ResponseEncoder, turn: Turn) -> None:
        self._encoder = encoder
        self._turn = turn
        self._opened = False
        self._named = False

    def step(self, delta: Delta) -> bytes:
        """The frames of one step, after those that open the stream; empty when it says nothing."""
        if self._named:
            return self._encoder.delta(delta)
        return self.opening() + self._encoder.delta(delta)

    def opening(self, *, named: bool = True) -> bytes:
        """The frames before everything else, unless they are written; not `named`: whom routing
        settles on is not known yet."""
        if named and not self._named:
            self._named = True
            self._encoder.named(self._turn.plan.selected if self._turn.plan else "")
        if self._opened:
            return b""
        self._opened = True
        return self._encoder.opening()

    def closing(self, error: Exception | None) -> bytes:
        """The frames before the terminal one; `error` is what ended it early."""
        frames = self.opening() + self._encoder.close(whole=error is None)
        found = self._turn.retrieval
        if found is not None and not self._turn.transparent:
            self._encoder.sources = found.hits
        return frames

    def terminal(self, error: Exception | None) -> bytes:
        """The last frame; `error` is what ended it early."""
        if isinstance(error, Cancelled):
            return self._encoder.terminal(cancelled=True)
        return self._encoder.terminal(error)


class SummaryWriter(FrameWriter):
    """Of a compaction: what the model says is the summary, which goes out sealed when it is whole;
    of thoughts, and of a call that was not offered, nothing does."""

    def __init__(self, encoder: ResponseEncoder, turn: Turn, *, seal: Seal) -> None:
        super().__init__(encoder, turn)
        self._seal = seal
        self._said: list[str] = []

    def step(self, delta: Delta) -> bytes:
        """See FrameWriter."""
        frames = super().step(Delta(usage=delta.usage))
        if not delta.text or delta.index:
            return frames
        self._said.append(delta.text)
        return frames + self._encoder.compacting()

    def closing(self, error: Exception | None) -> bytes:
        """See FrameWriter."""
        error = error or unusable(self._turn, self._summary)
        frames = super().closing(error)
        if error is not None:
            return frames
        return frames + self._encoder.compacted(sealed(self._seal, self._summary))

    def terminal(self, error: Exception | None) -> bytes:
        """See FrameWriter."""
        return super().terminal(error or unusable(self._turn, self._summary))

    @property
    def _summary(self) -> str:
        return "".join(self._said).strip()
