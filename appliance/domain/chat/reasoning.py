"""Reasoning that goes to a client signed and comes back with its next turn.

A surface that signs reasoning (Messages) wants a signature on every block, whoever thought it.  A
backend of the same dialect signs itself, and its blocks pass as they are.  For every other backend
the signature is a seal of ours, and what it wants back with its tool calls (Gemini's thought
signature) travels in it: never in a tool's id, never in a map of ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Part, Reasoning, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta
from appliance.domain.parsing.chain import Chain
from appliance.domain.sealing import Seal

_KIND = "reasoning"


def unsealed(request: ChatRequest, seal: Seal) -> ChatRequest:
    """`request` with our own signatures opened: taken off the reasoning, so that no backend is
    shown one it did not make, and what they carried given back to its calls."""
    if not request.signs_reasoning:
        return request
    messages = tuple(_opened(message, seal) for message in request.messages)
    if all(new is old for new, old in zip(messages, request.messages, strict=True)):
        return request
    return replace(request, messages=messages)


def _opened(message: Message, seal: Seal) -> Message:
    if message.role != "assistant":
        return message
    extras: dict[str, Mapping[str, Any]] = {}
    parts: list[Part] = []
    for part in message.parts:
        opened = seal.open(part.signature) if isinstance(part, Reasoning) else None
        if isinstance(part, Reasoning) and opened is not None and opened.get("kind") == _KIND:
            extras |= opened.get("calls") or {}
            parts.append(Reasoning(part.text))
        elif isinstance(part, ToolCall) and part.id in extras:
            parts.append(replace(part, extra=extras[part.id]))
        else:
            parts.append(part)
    changed = any(new is not old for new, old in zip(parts, message.parts, strict=True))
    return message.with_parts(tuple(parts)) if changed else message


class Signer:
    """A chain, and a signature behind the reasoning of each choice before anything else is said.

    A call that brings something its backend wants back has one before it too, of a block without
    text where nothing was thought.
    """

    def __init__(self, chain: Chain, seal: Seal) -> None:
        self._chain = chain
        self._seal = seal
        self._unsigned: set[int] = set()

    @property
    def stopped(self) -> bool:
        """See Chain."""
        return self._chain.stopped

    def feed(self, delta: Delta) -> Sequence[Delta]:
        """See Chain."""
        return [signed for step in self._chain.feed(delta) for signed in self._signed(step)]

    def end(self) -> Sequence[Delta]:
        """See Chain."""
        return [signed for step in self._chain.end() for signed in self._signed(step)]

    def answer(self, answer: Answer) -> Answer:
        """See Chain."""
        answer = self._chain.answer(answer)
        return replace(answer, choices=tuple(map(self._choice, answer.choices)))

    def _signed(self, delta: Delta) -> Iterator[Delta]:
        if delta.reasoning:
            self._unsigned.add(delta.index)
        if delta.signature:
            self._unsigned.discard(delta.index)
        calls = {step.id: step.extra for step in delta.tool_calls if step.extra and step.id}
        ends = delta.text or delta.tool_calls or delta.finish_reason or delta.refusal
        if calls or (ends and delta.index in self._unsigned):
            self._unsigned.discard(delta.index)
            yield Delta(index=delta.index, signature=self._sign(calls))
        yield delta

    def _choice(self, choice: Choice) -> Choice:
        calls = {call.id: call.extra for call in choice.tool_calls if call.extra}
        parts: list[Part] = []
        for part in choice.parts:
            if isinstance(part, Reasoning) and not part.signature and not part.redacted:
                parts.append(replace(part, signature=self._sign(calls)))
                calls = {}
            elif isinstance(part, ToolCall) and calls:
                parts += [Reasoning(signature=self._sign(calls)), part]
                calls = {}
            else:
                parts.append(part)
        return replace(choice, parts=tuple(parts))

    def _sign(self, calls: Mapping[str, Any]) -> str:
        thing: dict[str, Any] = {"kind": _KIND}
        if calls:
            thing["calls"] = calls
        return self._seal.seal(thing)
