"""What tools said, as the last turn of a request brings it.  Called for the record of each
exchange; pure.

An agent resends the whole conversation with every turn: the results before the last assistant
message were in the record of an exchange before.
"""

from collections.abc import Sequence

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Document, Image, Text, ToolCall, ToolResult, Unknown
from appliance.domain.events.exchange import Returned


def returned_results(messages: Sequence[Message]) -> tuple[Returned, ...]:
    """The results after the last assistant message, in their order, each with the name and the
    arguments of the call it answers.  What the model is to go on with, an assistant message at the
    very end, does not count as one."""
    end = len(messages)
    while end and messages[end - 1].role == "assistant":
        end -= 1
    results: list[ToolResult] = []
    for at in range(end - 1, -1, -1):
        message = messages[at]
        if message.role == "assistant":
            return _named(results, message) if results else ()
        # Plain loops: all that a request without results pays for is this.
        for part in reversed(message.parts):
            if type(part) is ToolResult:
                results.append(part)
    return _named(results, None) if results else ()


def _named(results: list[ToolResult], caller: Message | None) -> tuple[Returned, ...]:
    """`results` come last one first.  Servers that give several calls one id get their results in
    the order of the calls."""
    calls: dict[str, list[ToolCall]] = {}
    for part in reversed(caller.parts if caller is not None else ()):
        if isinstance(part, ToolCall):
            calls.setdefault(part.id, []).append(part)
    return tuple(_returned(result, calls.get(result.call_id)) for result in reversed(results))


def _returned(result: ToolResult, calls: list[ToolCall] | None) -> Returned:
    call = None
    if calls:
        call = calls.pop() if len(calls) > 1 else calls[0]
    return Returned(
        call_id=result.call_id,
        name=call.name if call is not None else result.name,
        arguments=call.arguments if call is not None else "",
        content="\n".join(map(_shown, result.parts)),
        is_error=result.is_error,
    )


def _shown(part: Text | Image | Document | Unknown) -> str:
    """A text as it is; anything else by a word for what it is."""
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Image):
        return f"[{part.media_type or 'image'}]"
    if isinstance(part, Document):
        return f"[{' '.join(filter(None, (part.media_type or 'document', part.name)))}]"
    return f"[{part.kind}]"
