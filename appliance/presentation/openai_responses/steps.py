"""A whole answer as the steps it could have come in: what is asked once is written by the same
encoder as a stream.  Pure."""

from collections.abc import Iterator

from appliance.domain.conversation.logprobs import within
from appliance.domain.conversation.parts import Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.stream import Answer, Delta, ToolCallDelta


def deltas_of(answer: Answer) -> Iterator[Delta]:
    """The steps of its first choice; parts that no step has a word for are left out."""
    choice = answer.first
    calls = said = 0
    for part in choice.parts:
        if isinstance(part, Refusal):
            yield Delta(refusal=part.text)
        elif isinstance(part, Text) and part.text:
            yield Delta(text=part.text, logprobs=within(choice.logprobs, said, len(part.text)))
            said += len(part.text)
        elif isinstance(part, Reasoning):
            delta = Delta(reasoning=part.text, signature=part.signature)
            delta.redacted = part.redacted
            yield delta
        elif isinstance(part, ToolCall):
            step = ToolCallDelta(calls, part.id, part.name, part.arguments, part.extra or None)
            yield Delta(tool_calls=(step,))
            calls += 1
    finish = Delta(finish_reason=choice.finish_reason or "stop", usage=answer.usage)
    finish.model, finish.stop_sequence = answer.model, choice.stop_sequence
    yield finish
