"""The message of an answer while it is said: a text, or a refusal.  Used by `output`; pure."""

from collections.abc import Sequence

from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.presentation.openai_responses.frames import Frames, delta_head
from appliance.presentation.openai_responses.output_items import OutputItem
from appliance.presentation.openai_responses.wire import Object

_PLACE: Object = {"content_index": 0}


class Message(OutputItem):
    """One text.  `phase` is known when it ends."""

    word = "output_text"  # of its events

    def __init__(self, frames: Frames, item_id: str, index: int) -> None:
        super().__init__(frames, item_id, index)
        self.phase: str | None = None
        self._likely: list[Object] = []
        self._head = delta_head(f"response.{self.word}.delta", **self._of, **_PLACE, **self._beside)

    def begin(self) -> bytes:
        """See OutputItem."""
        opened = self._added({**self.item("in_progress"), "content": []})
        return opened + self._event("response.content_part.added", **_PLACE, part=self._part(""))

    def likely(self, text: str, logprobs: Sequence[TokenLogprob]) -> bytes:
        """The frames of its next piece, and how likely its tokens were."""
        rows = list(map(_logprob, logprobs))
        self._likely += rows
        self.pieces.append(text)
        kind = f"response.{self.word}.delta"
        return self._event(kind, **_PLACE, delta=text, logprobs=rows)

    def end(self, status: str) -> bytes:
        """See OutputItem."""
        told, part = self._told(self.said), self._part(self.said)
        return (
            self._event(f"response.{self.word}.done", **_PLACE, **told, **self._beside)
            + self._event("response.content_part.done", **_PLACE, part=part)
            + self._done(self.item(status))
        )

    def item(self, status: str) -> Object:
        """See OutputItem."""
        item: Object = {
            "id": self._id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [self._part(self.said)],
        }
        return {**item, "phase": self.phase} if self.phase else item

    @property
    def _beside(self) -> Object:
        """What is said beside its text, in its events too."""
        return {"logprobs": self._likely}

    def _told(self, text: str) -> Object:
        return {"text": text}

    def _part(self, text: str) -> Object:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self._likely}


class Refusal(Message):
    """Why there is no answer."""

    word = "refusal"

    @property
    def _beside(self) -> Object:
        """See Message: nothing is."""
        return {}

    def _told(self, text: str) -> Object:
        return {"refusal": text}

    def _part(self, text: str) -> Object:
        return {"type": "refusal", "refusal": text}


def _logprob(one: TokenLogprob) -> Object:
    told = {"token": one.token, "bytes": list(one.utf8), "logprob": one.logprob}
    return {**told, "top_logprobs": [_logprob_alone(other) for other in one.top]}


def _logprob_alone(one: TokenLogprob) -> Object:
    return {"token": one.token, "bytes": list(one.utf8), "logprob": one.logprob}
