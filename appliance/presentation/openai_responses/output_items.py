"""The items of an answer while they are said: reasoning, a call, a compaction; a message is in
`message`.  Each writes the events it begins with, goes on with and ends with, and is itself at any
time.  Used by `output`; pure.
"""

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from appliance.presentation.openai_responses.frames import Frames, delta_head
from appliance.presentation.openai_responses.tools import INPUT_FIELD, Key
from appliance.presentation.openai_responses.wire import Object


class OutputItem(ABC):
    """`index` is its place in the output; `pieces` what it has said so far."""

    def __init__(self, frames: Frames, item_id: str, index: int) -> None:
        self.index = index
        self.pieces: list[str] = []
        self._frames = frames
        self._id = item_id
        self._of = {"item_id": item_id, "output_index": index}  # in each of its events
        self._head = b""  # of its deltas

    @abstractmethod
    def item(self, status: str) -> Object:
        """It as it is now."""

    @abstractmethod
    def end(self, status: str) -> bytes:
        """The frames that close it."""

    def begin(self) -> bytes:
        """The frames that open it."""
        return self._added(self.item("in_progress"))

    def add(self, text: str) -> bytes:
        """The frames of its next piece."""
        self.pieces.append(text)
        return self._frames.piece(self._head, text)

    @property
    def said(self) -> str:
        """All its pieces."""
        return "".join(self.pieces)

    def _added(self, item: Object) -> bytes:
        event = "response.output_item.added"
        return self._frames.event(event, output_index=self.index, item=item)

    def _done(self, item: Object) -> bytes:
        return self._frames.event("response.output_item.done", output_index=self.index, item=item)

    def _event(self, kind: str, **fields: Any) -> bytes:
        return self._frames.event(kind, **self._of, **fields)


class Reasoning(OutputItem):
    """One text of thoughts, none where all of it is `sealed`.

    To a client that asks for summaries it goes out as one: that is what Codex and the SDKs show.
    To others it is the raw text, which is what it is.
    """

    def __init__(self, frames: Frames, item_id: str, index: int, *, summary: bool) -> None:
        super().__init__(frames, item_id, index)
        self.sealed = ""
        self._summary = summary
        self._place: Object = {"summary_index": 0} if summary else {"content_index": 0}
        word = "reasoning_summary_text" if summary else "reasoning_text"
        self._text_event = f"response.{word}"
        self._part_event = f"response.{'reasoning_summary_part' if summary else 'content_part'}"
        self._head = delta_head(f"{self._text_event}.delta", **self._of, **self._place)

    def add(self, text: str) -> bytes:
        """See OutputItem."""
        opened = b""
        if not self.pieces:
            part = self._part("")
            opened = self._event(f"{self._part_event}.added", **self._place, part=part)
        return opened + super().add(text)

    def end(self, status: str) -> bytes:
        """See OutputItem."""
        frames = b""
        if text := self.said:
            part = self._part(text)
            frames = self._event(f"{self._text_event}.done", **self._place, text=text)
            frames += self._event(f"{self._part_event}.done", **self._place, part=part)
        return frames + self._done(self.item(status))

    def item(self, status: str) -> Object:
        """See OutputItem."""
        parts = [self._part(text)] if (text := self.said) else []
        item: Object = {"id": self._id, "type": "reasoning", "status": status}
        item["summary"] = parts if self._summary else []
        if parts and not self._summary:
            item["content"] = parts
        return {**item, "encrypted_content": self.sealed} if self.sealed else item

    def _part(self, text: str) -> Object:
        return {"type": "summary_text" if self._summary else "reasoning_text", "text": text}


class Call(OutputItem):
    """A call of a function, which is `key` to its client; its pieces are JSON text."""

    def __init__(self, frames: Frames, item_id: str, index: int, call_id: str, key: Key) -> None:
        super().__init__(frames, item_id, index)
        self._call_id = call_id
        self._namespace, self._name = key
        self._head = delta_head("response.function_call_arguments.delta", **self._of)

    @property
    def whole(self) -> bool:
        """True when its arguments are a JSON object: nothing can follow."""
        last = self.pieces[-1].rstrip() if self.pieces else ""
        if last and last[-1] != "}":
            return False  # spares reading all of it for each step
        try:
            msgspec.json.decode(self.said, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def end(self, status: str) -> bytes:
        """See OutputItem.  `{}`, not nothing: clients read it as JSON."""
        frames = b"" if self.said else self.add("{}")
        kind = "response.function_call_arguments.done"
        frames += self._event(kind, name=self._name, arguments=self.said)
        return frames + self._done(self.item(status))

    def item(self, status: str) -> Object:
        """See OutputItem."""
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            **self._called,
            "arguments": self.said,
        }

    @property
    def _called(self) -> Object:
        name: Object = {"name": self._name}
        return {**name, "namespace": self._namespace} if self._namespace else name


class CustomCall(Call):
    """A call of a tool whose input is any text.  The model was told of a function with one
    argument, so the input is known when the arguments are whole: it goes out as one piece."""

    def add(self, text: str) -> bytes:
        """See OutputItem."""
        self.pieces.append(text)
        return b""

    def end(self, status: str) -> bytes:
        """See OutputItem."""
        kind, text = "response.custom_tool_call_input", self._input()
        frames = self._event(f"{kind}.delta", delta=text) if text else b""
        return frames + self._event(f"{kind}.done", input=text) + self._done(self.item(status))

    def item(self, status: str) -> Object:
        """See OutputItem."""
        return {
            "id": self._id,
            "type": "custom_tool_call",
            "status": status,
            "call_id": self._call_id,
            **self._called,
            "input": "" if status == "in_progress" else self._input(),
        }

    def _input(self) -> str:
        """What the model wrote, as it is, where it did not keep to the schema."""
        try:
            arguments = msgspec.json.decode(self.said, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return self.said
        text = arguments.get(INPUT_FIELD)
        if isinstance(text, str):
            return text
        return self.said if arguments else ""


class SearchCall(Call):
    """A call of the search for tools: its arguments are an object, and go out when it is whole."""

    def add(self, text: str) -> bytes:
        """See OutputItem."""
        self.pieces.append(text)
        return b""

    def end(self, status: str) -> bytes:
        """See OutputItem."""
        return self._done(self.item(status))

    def item(self, status: str) -> Object:
        """See OutputItem."""
        return {
            "id": self._id,
            "type": "tool_search_call",
            "status": status,
            "call_id": self._call_id,
            "execution": "client",
            "arguments": msgspec.json.decode(self.said) if self.whole else {},
        }


class Compaction(OutputItem):
    """A summary of the conversation: nothing of it shows before it is whole and `sealed`."""

    def __init__(self, frames: Frames, item_id: str, index: int) -> None:
        super().__init__(frames, item_id, index)
        self.sealed = ""

    def add(self, text: str) -> bytes:
        """See OutputItem: it says that there is more."""
        return self._event("response.compaction.compacting")

    def end(self, status: str) -> bytes:
        """See OutputItem."""
        return self._done(self.item(status))

    def item(self, status: str) -> Object:
        """See OutputItem; it has no status."""
        return {"id": self._id, "type": "compaction", "encrypted_content": self.sealed}
