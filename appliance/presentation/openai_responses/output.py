"""The output of one response: its items in the order they begin, numbered from 0.  Called by
`encode`; pure.

There is one message, refusal or piece of reasoning open at a time; calls may be open beside it and
beside each other, since their steps may come mixed.  A message ends when anything else begins, and
is then commentary; the one the answer ends with is the final answer.
"""

from collections.abc import Mapping, Sequence

from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.options import Tool
from appliance.domain.conversation.stream import ToolCallDelta
from appliance.presentation.openai_responses.frames import Frames
from appliance.presentation.openai_responses.message import Message, Refusal
from appliance.presentation.openai_responses.output_items import (
    Call,
    Compaction,
    CustomCall,
    OutputItem,
    Reasoning,
    SearchCall,
)
from appliance.presentation.openai_responses.tools import CUSTOM, FUNCTION, SEARCH, key_of
from appliance.presentation.openai_responses.wire import Object

COMMENTARY, FINAL = "commentary", "final_answer"
COMPLETED, INCOMPLETE, IN_PROGRESS = "completed", "incomplete", "in_progress"
# Type of a tool -> what its calls are, and what their ids begin with.
_CALLS: Mapping[str, tuple[type[Call], str]] = {
    FUNCTION: (Call, "fc"),
    CUSTOM: (CustomCall, "ctc"),
    SEARCH: (SearchCall, "tsc"),
}


class Output:
    """Every method that says something returns its frames."""

    def __init__(
        self, frames: Frames, stem: str, *, tools: Mapping[str, Tool], summaries: bool
    ) -> None:
        """`stem` is what the ids of its items have in common; `tools` are those the model was told
        of; `summaries` as in WireResponseRequest."""
        self._frames = frames
        self._stem = stem
        self._tools = tools
        self._summaries = summaries
        self._begun = 0
        self._done: dict[int, Object] = {}
        self._message: Message | None = None
        self._refusal: Refusal | None = None
        self._reasoning: Reasoning | None = None
        self._compaction: Compaction | None = None
        self._calls: dict[int, Call] = {}  # open ones, by their place among the calls
        self._called: set[int] = set()  # all that began
        self._spoke = False

    def text(self, text: str) -> bytes:
        """A piece of text."""
        message = self._message
        if message is not None:
            return message.add(text)
        opened, message = self._open_message()
        return opened + (message.add(text) if text else b"")

    def likely(self, text: str, logprobs: Sequence[TokenLogprob]) -> bytes:
        """A piece of text, and how likely its tokens were."""
        opened, message = b"", self._message
        if message is None:
            opened, message = self._open_message()
        return opened + message.likely(text, logprobs)

    def refusal(self, text: str) -> bytes:
        """A piece of a refusal: a message of its own."""
        opened, refusal = b"", self._refusal
        if refusal is None:
            opened = self._make_room()
            self._refusal = refusal = Refusal(self._frames, *self._next("msg"))
            self._spoke = True
            opened += refusal.begin()
        return opened + refusal.add(text)

    def reasoning(self, text: str) -> bytes:
        """A piece of reasoning."""
        reasoning = self._reasoning
        if reasoning is not None:
            return reasoning.add(text)
        opened, reasoning = self._open_reasoning()
        return opened + reasoning.add(text)

    def sealed(self, sealed: str, *, given: bool) -> bytes:
        """What the reasoning so far is sealed as, which ends it; a reasoning of its own where none
        is open.  Not `given`, it only ends."""
        opened, reasoning = b"", self._reasoning
        if reasoning is None and given:
            opened, reasoning = self._open_reasoning()
        if reasoning is not None and given:
            reasoning.sealed = sealed
        return opened + self._end_reasoning()

    def redacted(self, sealed: str, *, given: bool) -> bytes:
        """A whole piece of reasoning that only its maker reads."""
        return self._end_reasoning() + self.sealed(sealed, given=given)

    def call(self, step: ToolCallDelta) -> bytes:
        """A step of a call."""
        call = self._calls.get(step.index)
        opened = b""
        if call is None:
            if step.index in self._called:
                return b""  # its arguments are whole: only white space can follow
            opened = self._make_room()
            self._calls[step.index] = call = self._new_call(step)
            self._called.add(step.index)
            opened += call.begin()
        return opened + (call.add(step.arguments) if step.arguments else b"")

    def compacting(self) -> bytes:
        """A step of a summary."""
        opened, compaction = b"", self._compaction
        if compaction is None:
            self._compaction = compaction = Compaction(self._frames, *self._next("cmp"))
            opened = compaction.begin()
        return opened + compaction.add("")

    def compacted(self, sealed: str) -> bytes:
        """The summary is whole; one that does not become so is not among the items."""
        assert self._compaction is not None, "compacting() comes first"
        self._compaction.sealed = sealed
        return self._end(self._compaction, COMPLETED)

    def finish(self, status: str) -> bytes:
        """End all that is open; an answer that came to its end without a word is an empty one, and
        a call that is whole was not cut."""
        frames = b""
        if status == COMPLETED and not (self._spoke or self._called or self._compaction):
            frames = self.text("")
        frames += self._end_reasoning(status)
        for index in sorted(self._calls):
            whole = self._calls[index].whole
            frames += self._end_call(index, COMPLETED if whole else status)
        return frames + self._end_messages(FINAL, status)

    @property
    def items(self) -> list[Object]:
        """All of them, as they are now."""
        still = {said.index: said.item(IN_PROGRESS) for said in self._open}
        return [item for _, item in sorted((self._done | still).items())]

    @property
    def _open(self) -> list[OutputItem]:
        alone: list[OutputItem | None] = [self._message, self._refusal, self._reasoning]
        return [said for said in (*alone, *self._calls.values()) if said is not None]

    def _next(self, prefix: str) -> tuple[str, int]:
        """Id and index of the next item."""
        index, self._begun = self._begun, self._begun + 1
        return f"{prefix}_{self._stem}_{index}", index

    def _make_room(self) -> bytes:
        """End what must not be open beside a new item, and what is whole."""
        whole = [index for index, call in self._calls.items() if call.whole]
        frames = self._end_reasoning() + self._end_messages(COMMENTARY)
        return frames + b"".join(self._end_call(index) for index in whole)

    def _open_message(self) -> tuple[bytes, Message]:
        ended = self._make_room()
        self._message = message = Message(self._frames, *self._next("msg"))
        self._spoke = True
        return ended + message.begin(), message

    def _open_reasoning(self) -> tuple[bytes, Reasoning]:
        ended = self._make_room()
        made = Reasoning(self._frames, *self._next("rs"), summary=self._summaries)
        self._reasoning = made
        return ended + made.begin(), made

    def _new_call(self, step: ToolCallDelta) -> Call:
        tool = self._tools.get(step.name) or Tool(step.name)  # models also call what is not there
        kind, prefix = _CALLS[(tool.source or {}).get("type", FUNCTION)]
        return kind(self._frames, *self._next(prefix), step.id, key_of(tool))

    def _end_reasoning(self, status: str = COMPLETED) -> bytes:
        ended, self._reasoning = self._reasoning, None
        return self._end(ended, status)

    def _end_messages(self, phase: str, status: str = COMPLETED) -> bytes:
        """The one that is open, if any: text or refusal."""
        ended = self._message or self._refusal
        self._message = self._refusal = None
        if ended is not None:
            ended.phase = phase
        return self._end(ended, status)

    def _end_call(self, index: int, status: str = COMPLETED) -> bytes:
        call = self._calls.pop(index)
        return self._end(call, status)

    def _end(self, ended: OutputItem | None, status: str) -> bytes:
        if ended is None:
            return b""
        frames = ended.end(status)
        self._done[ended.index] = ended.item(status)
        return frames
