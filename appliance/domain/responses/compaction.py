"""A conversation too long to go on with becomes a summary its client carries.  Called for POST
/v1/responses/compact, for a response that is asked to be one (`compacts`), and for every request
whose input brings such a summary back.

The model that is asked writes the summary, as any other exchange: routed, bounded, recorded.  What
goes out is sealed: only a gateway with our secret reads it again, and none keeps anything.  A
decoder hands a compaction item on as a message of one part, `Unknown(COMPACTION, item)`;
`with_summaries` makes it words.  Pure but for the model's answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.domain.chat.service import ChatService
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.options import Options
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import BackendProtocolError, InvalidRequest
from appliance.domain.responses.record import Item
from appliance.domain.sealing import Seal

COMPACTION = "compaction"  # the kind of the item, of its part and of its seal
CUT = ("length", "content_filter")  # finish reasons after which a text has no end
MAX_KEPT_CHARS = 32_768  # of user messages that stay as they were, the newest first
PROMPT = """\
You are given the transcript of a conversation between a user and an assistant who may use tools. \
Write the summary from which the assistant will go on without it. Say, as far as the transcript \
has it: what the user wants, with every condition and preference; what has been decided and why; \
what has been done, with which tools and what came of it; facts that will be needed again, with \
names, paths, numbers and identifiers exactly as they are; what is still to do, and what was last \
being done. Add nothing the transcript does not say, and answer nothing it asks. What is marked \
[system] will be given again: leave it out. Write in the language of the conversation, plainly, \
without a greeting."""
PREFACE = "Summary of the conversation before this point:\n\n"


@dataclass(frozen=True, slots=True)
class Compaction:
    """`kept` are items of the wire; `sealed` stands for all of the conversation, those included."""

    kept: tuple[Item, ...]
    sealed: str
    usage: Usage | None


def sealed(seal: Seal, summary: str) -> str:
    """The opaque text of a compaction item."""
    return seal.seal({"kind": COMPACTION, "text": summary})


def opened(seal: Seal, text: str) -> str | None:
    """The summary; None for what was not sealed by us as one."""
    thing = seal.open(text)
    if thing is None or thing.get("kind") != COMPACTION:
        return None
    summary = thing.get("text")
    return summary if isinstance(summary, str) else None


def with_summaries(request: ChatRequest, seal: Seal) -> ChatRequest:
    """`request` with its compaction items in words.  Raises InvalidRequest for one that is not
    ours or has been changed."""
    messages = tuple(_told(message, seal) for message in request.messages)
    if all(new is old for new, old in zip(messages, request.messages, strict=True)):
        return request
    return replace(request, messages=messages)


def _told(message: Message, seal: Seal) -> Message:
    if len(message.parts) != 1:
        return message
    part = message.parts[0]
    if not isinstance(part, Unknown) or part.kind != COMPACTION:
        return message
    # The user's: a model's template may have no place for system messages further down.
    return _said("user", PREFACE + _summary(part, seal))


def _summary(part: Unknown, seal: Seal) -> str:
    text = (part.source or {}).get("encrypted_content")
    summary = opened(seal, text) if isinstance(text, str) else None
    if summary is None:
        raise InvalidRequest(
            "A compaction item in the input was not made by this gateway, or has been changed: "
            "send the conversation itself.",
            param="input",
            code="invalid_compaction",
        )
    return summary


class Compactor:
    """One for the process."""

    def __init__(self, chat: ChatService, seal: Seal) -> None:
        self._chat = chat
        self._seal = seal

    def turn(self, request: ChatRequest, caller: Caller, conversation_id: str = "") -> Turn:
        """The exchange that will summarise the conversation in `request`, which is part of
        `conversation_id` unless it names one itself; nothing has happened yet.

        Raises InvalidRequest when there is none, or a summary in it is not ours.
        """
        asking = summarising(with_summaries(request, self._seal))
        if conversation_id and not asking.extensions.conversation:
            asking = replace(
                asking, extensions=replace(asking.extensions, conversation=conversation_id)
            )
        return self._chat.turn(asking, caller)

    async def compact(self, turn: Turn, items: Sequence[Item]) -> Compaction:
        """`items` are those of the whole conversation.  Raises the error tree."""
        answer = await self._chat.once(turn)
        summary = answer.first.text.strip()
        if (fault := unusable(turn, summary)) is not None:
            raise fault
        return Compaction(kept(items), sealed(self._seal, summary), answer.usage)


def unusable(turn: Turn, summary: str) -> BackendProtocolError | None:
    """Why nobody can go on from `summary`, all that the model said in `turn`; None where one
    can."""
    if turn.finish_reason in CUT:
        fault = f"its summary was cut ({turn.finish_reason})"
    elif not summary:
        fault = "it summarised in no words"
    else:
        return None
    backend = turn.attempts.current.backend if turn.attempts else ""
    return BackendProtocolError(fault, backend=backend)


def kept(items: Sequence[Item], most_chars: int = MAX_KEPT_CHARS) -> tuple[Item, ...]:
    """The newest user messages among `items` that together are no longer than `most_chars`, in
    their order; without the media, which the summary speaks of."""
    chosen: list[Item] = []
    for item in reversed(items):
        if item.get("role") != "user" or item.get("type", "message") != "message":
            continue
        words = _words(item)
        most_chars -= sum(len(part["text"]) for part in words)
        if most_chars < 0:
            break
        if words:
            chosen.append({**item, "content": words})
    return tuple(reversed(chosen))


def _words(item: Item) -> list[dict[str, Any]]:
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}] if content else []
    parts = content if isinstance(content, list | tuple) else ()
    return [
        {"type": "input_text", "text": part["text"]}
        for part in parts
        if isinstance(part, Mapping) and isinstance(part.get("text"), str) and part["text"]
    ]


def summarising(request: ChatRequest) -> ChatRequest:
    """Ask for a summary of the conversation in `request`, whose own summaries are words already.
    Raises InvalidRequest where there is none.

    Everything is one text: no backend then minds a call without its result, tools that are not
    offered any more, or whose turn it is.
    """
    if all(message.role == "system" for message in request.messages):
        raise InvalidRequest("There is no conversation to compact.", param="input")
    transcript = "\n\n".join(line for message in request.messages for line in _lines(message))
    return ChatRequest(
        model=request.model,
        messages=(_said("system", PROMPT), _said("user", transcript)),
        stream=request.stream,
        include_usage=request.include_usage,
        dialect=request.dialect,
        options=Options(),
        # Knowledge belongs to what the user asks, not to a summary of it.
        extensions=replace(request.extensions, route="direct"),
    )


def _said(role: str, text: str) -> Message:
    # The record of an exchange has its messages in the words of chat completions.
    return Message(role, (Text(text),), {"role": role, "content": text})


def _lines(message: Message) -> Iterator[str]:
    for part in message.parts:
        if text := _line(part):
            yield f"[{message.role}] {text}"


def _line(part: Part) -> str:
    """What a transcript has of a part; empty for thoughts, which are not part of what was said."""
    match part:
        case Text():
            return part.text
        case ToolCall():
            return f"calls {part.name} ({part.id}) with {part.arguments}"
        case ToolResult():
            said = "\n".join(filter(None, map(_line, part.parts)))
            return f"result of {part.call_id}{' (failed)' if part.is_error else ''}: {said}"
        case Image():
            return "(an image)"
        case Document():
            return part.text or f"(a file: {part.name or part.media_type or 'unnamed'})"
        case Reasoning() | Unknown():
            return ""
