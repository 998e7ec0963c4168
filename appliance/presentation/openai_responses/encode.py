"""From deltas to the events and the resource of Responses.  Step 8 of the path; pure but for the
clock passed in.

One encoder writes whatever becomes of a response: streamed, whole, stored or replayed, it is the
same frames and the same resource.  Responses has one choice: others are not written.
"""

import time
from collections.abc import Callable
from typing import Any

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.domain.responses.record import ID_PREFIX, ResponseRequest, Status
from appliance.presentation.openai_responses.conversation import REDACTED
from appliance.presentation.openai_responses.decode import WireResponseRequest
from appliance.presentation.openai_responses.frames import Frames, encode_json, lifecycle
from appliance.presentation.openai_responses.output import COMPLETED, INCOMPLETE, Output
from appliance.presentation.openai_responses.resource import error_object, head_of, usage_object
from appliance.presentation.sources import sources_field

# Why an answer is not whole, in OpenAI's words, by finish reason.
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
# No SDK has an event for a response that was cancelled: the resource says so, in the one event
# that ends a stream neither well nor by an error.
_TERMINAL = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.incomplete",
}


def encoder(
    request: ResponseRequest,
    chat: ChatRequest,
    response_id: str,
    created: int,
    clock: Callable[[], float] = time.time,
) -> "ResponsesEncoder":
    """One for each response; `created` and the `clock` are Unix seconds."""
    assert isinstance(request, WireResponseRequest), "only what `decode` made can be answered"
    return ResponsesEncoder(request, chat, response_id, created, clock)


class ResponsesEncoder:
    """See ResponseEncoder.  `encrypted`: sealed reasoning is given out even where the response is
    not stored.  Of a stored one it always is: who continues it has no other place to find it.
    `sources`, where the answer may show them, are those of its knowledge."""

    def __init__(
        self,
        request: WireResponseRequest,
        chat: ChatRequest,
        response_id: str,
        created: int,
        clock: Callable[[], float],
    ) -> None:
        self.store = request.store
        self.encrypted = request.encrypted
        self.sources: tuple[Hit, ...] | None = None
        self._head = head_of(response_id, created, chat.model)
        # Tools and instructions of an agent are tens of kilobytes, and go out three times.
        self._echo = encode_json(request.echo)[1:]
        self._clock = clock
        self._frames = Frames()
        self._output = Output(
            self._frames,
            response_id.removeprefix(ID_PREFIX),
            tools={tool.name: tool for tool in chat.options.tools},
            summaries=request.summaries,
        )
        self._status: Status = "in_progress"
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._terminal_number = -1

    @property
    def count(self) -> int:
        """See ResponseEncoder."""
        return self._frames.count

    @property
    def status(self) -> Status:
        """See ResponseEncoder."""
        return self._status

    def named(self, model: str) -> None:
        """See ResponseEncoder."""
        if self._head["model"] in ("", "auto"):
            self._head["model"] = model

    def queued(self) -> bytes:
        """See ResponseEncoder."""
        self._status = "queued"
        return self._lifecycle("response.created") + self._lifecycle("response.queued")

    def opening(self) -> bytes:
        """See ResponseEncoder."""
        self._status = "in_progress"
        created = b"" if self._frames.count else self._lifecycle("response.created")
        return created + self._lifecycle("response.in_progress")

    def delta(self, delta: Delta) -> bytes:
        """See ResponseEncoder."""
        # The usual step says a piece of text and nothing else.
        if (
            delta.text
            and delta.index == 0
            and not (delta.finish_reason or delta.usage or delta.logprobs)
        ):
            return self._output.text(delta.text)
        if delta.usage is not None:
            self._usage = delta.usage
        return self._content(delta) if delta.index == 0 else b""

    def compacting(self) -> bytes:
        """See ResponseEncoder."""
        return self._output.compacting()

    def compacted(self, sealed: str) -> bytes:
        """See ResponseEncoder."""
        return self._output.compacted(sealed)

    def close(self, *, whole: bool) -> bytes:
        """See ResponseEncoder."""
        cut = self._finish_reason in _REASONS
        return self._output.finish(COMPLETED if whole and not cut else INCOMPLETE)

    def terminal(self, error: Exception | None = None, *, cancelled: bool = False) -> bytes:
        """See ResponseEncoder."""
        if self._terminal_number < 0:
            self._terminal_number = self._frames.count
            self._frames.count += 1
            self._set_status(error, cancelled=cancelled)
        kind = _TERMINAL[self._status]
        return lifecycle(kind, self._terminal_number, self.resource())

    def resource(self) -> bytes:
        """See ResponseEncoder."""
        told: dict[str, Any] = {
            **self._head,
            "status": self._status,
            "output": self._output.items,
            "store": self.store,
        }
        if self.sources is not None:
            told["x_sources"] = sources_field(self.sources)
        return b"%b,%b" % (encode_json(told)[:-1], self._echo)

    def _content(self, delta: Delta) -> bytes:
        output, given = self._output, self.encrypted or self.store
        frames = output.redacted(REDACTED + delta.redacted, given=given) if delta.redacted else b""
        if delta.reasoning:
            frames += output.reasoning(delta.reasoning)
        if delta.signature:
            frames += output.sealed(delta.signature, given=given)
        if delta.text and delta.logprobs:
            frames += output.likely(delta.text, delta.logprobs)
        elif delta.text:
            frames += output.text(delta.text)
        if delta.refusal:
            frames += output.refusal(delta.refusal)
        for step in delta.tool_calls:
            frames += output.call(step)
        if delta.finish_reason:
            self._finish_reason = delta.finish_reason
            frames += self.close(whole=True)
        return frames

    def _set_status(self, error: Exception | None, *, cancelled: bool) -> None:
        """What became of it."""
        reason = _REASONS.get(self._finish_reason or "")
        self._head["usage"] = usage_object(self._usage)
        if cancelled:
            self._status = "cancelled"
        elif error is not None:
            self._status = "failed"
            self._head["error"] = error_object(error)
        elif reason is not None:
            self._status = "incomplete"
            self._head["incomplete_details"] = {"reason": reason}
        else:
            self._status = "completed"
            self._head["completed_at"] = int(self._clock())

    def _lifecycle(self, kind: str) -> bytes:
        number, self._frames.count = self._frames.count, self._frames.count + 1
        return lifecycle(kind, number, self.resource())
