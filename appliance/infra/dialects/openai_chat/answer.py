"""What a server of OpenAI's wire answers, whole or in events, as neutral answers and deltas.  Used
by client.py; pure.

Servers send null, other types and other servers' words in every place: what cannot be read says
nothing, and what is no answer at all is a BackendProtocolError; nothing else is raised.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.domain.conversation.logprobs import of_text
from appliance.domain.conversation.parts import Part, Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import BackendProtocolError
from appliance.infra.dialects.bodies import UNREADABLE, decode, error_in, object_in
from appliance.infra.dialects.failures import broken, in_band_error
from appliance.infra.dialects.openai_chat import finish
from appliance.infra.dialects.openai_chat.fields import (
    logprobs_of,
    refusal_of,
    stop_sequence,
    text_of,
    thoughts_of,
    usage_of,
)

# What its backend wants back with a call: Gemini's thought signature is in it.
_CALL_EXTRA = "extra_content"
# A step that says several things is read as several: the fields of each, in the order of the whole.
_REASONING = frozenset({"reasoning_content", "reasoning", "reasoning_details"})
_TEXT = frozenset({"content"})
_REFUSAL = frozenset({"refusal"})
_CALLS = frozenset({"tool_calls", "function_call"})
_KINDS = (_REASONING, _TEXT, _REFUSAL, _CALLS)
_SPOKEN = _REASONING | _REFUSAL | _CALLS  # what else than its content a message may say
_RARE = frozenset({"tool_calls", "function_call", "reasoning_details", "refusal"})
_encode = msgspec.json.Encoder().encode


class AnswerReader:
    """Reads the answer to one request."""

    __slots__ = ("_backend", "_likely", "_names", "_own", "_raw")

    def __init__(
        self,
        backend: str,
        *,
        own: bool,
        raw: bool = False,
        logprobs: bool = False,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`own`: the request was of this dialect, so `source` goes along; `raw`: so do the bytes.
        `logprobs`: it asked for them.  `names` leads from tool names as sent to the client's, where
        they differ."""
        self._backend = backend
        self._own = own
        self._raw = raw
        self._likely = logprobs and not own  # in `source` they are anyway
        self._names = names or {}

    # -- in events

    def deltas(self, data: bytes) -> Sequence[Delta]:
        """The steps in the payload of one event, in order."""
        try:
            event = decode(data)
        except UNREADABLE as exc:
            if not data.strip():
                return ()
            raise self._broken(f"sent an event that is not JSON: {exc}") from exc
        if type(event) is not dict or event.get("error"):
            raise error_in(event, self._backend)
        usage = event.get("usage")
        counted = usage_of(usage) if usage else None
        choices = event.get("choices")
        if type(choices) is not list or not choices:
            return (Delta(usage=counted, source=event if self._own else None),)
        if len(choices) == 1:
            deltas = self._steps(event, choices[0], counted)
        else:
            deltas = self._each(event, choices, counted)
        if self._raw:
            deltas[0].raw = data  # once, with the first: the others are in it
        return deltas

    def _each(
        self, event: dict[str, Any], choices: list[Any], counted: Usage | None
    ) -> Sequence[Delta]:
        """Several choices in one event, each as if it had come alone; the usage with the last."""
        deltas: list[Delta] = []
        for choice in choices[:-1]:
            deltas += self._steps(_with(event, choice, last=False), choice, None)
        deltas += self._steps(_with(event, choices[-1], last=True), choices[-1], counted)
        return deltas

    def _steps(self, event: dict[str, Any], choice: Any, counted: Usage | None) -> Sequence[Delta]:
        if type(choice) is not dict:
            raise self._broken("sent a choice that is not an object")
        step = choice.get("delta")
        if type(step) is not dict:
            step = {"content": choice.get("text")}  # of a text completion, or none at all
        # The checks in the order that costs the usual steps least: text alone, then reasoning
        # alone or with nulls beside it, then anything else.
        text, reasoning, beside = step.get("content"), "", None
        calls: Sequence[ToolCallDelta] = ()
        if len(step) > 1 or not text or type(text) is not str:
            reasoning = step.get("reasoning_content") or step.get("reasoning") or ""
            if (
                (reasoning and (text or type(reasoning) is not str))
                or (type(text) is not str and text is not None)
                or not _RARE.isdisjoint(step)
                or "error" in choice
            ):
                text, reasoning, signature, refusal, calls = self._said(choice, step)
                thought = bool(reasoning or signature)
                if thought + bool(text) + bool(refusal) + bool(calls) > 1:
                    return self._apart(event, choice, step, counted)
                beside = (signature, refusal)
        reason = choice.get("finish_reason")
        index = choice.get("index")
        model = event.get("model")
        # By position: the names would cost every chunk a tenth of its parsing.
        delta = Delta(
            index if type(index) is int else 0,
            text or "",
            reasoning,
            calls,
            None if reason is None else self._finish(choice, reason),
            counted,
            model if type(model) is str else "",
            event if self._own else None,
        )
        if beside is not None:
            delta.signature, delta.refusal = beside
        if self._likely:
            delta.logprobs = logprobs_of(choice)
        if reason is not None:
            delta.stop_sequence = stop_sequence(choice)
        return (delta,)

    def _said(
        self, choice: dict[str, Any], said: dict[str, Any]
    ) -> tuple[str, str, str, str, Sequence[ToolCallDelta]]:
        """Text, reasoning, signature, refusal and calls, whatever form they have."""
        if choice.get("error"):
            raise in_band_error(self._backend, choice["error"])
        text = text_of(said)  # which may find reasoning in it
        reasoning, signature = thoughts_of(said)
        return text, reasoning, signature, refusal_of(said), self._calls(said)

    def _apart(
        self,
        event: dict[str, Any],
        choice: dict[str, Any],
        step: dict[str, Any],
        counted: Usage | None,
    ) -> Sequence[Delta]:
        """One step that says several things, as steps that say one each; what else is told of its
        tokens goes with the text, or with the last."""
        around = {k: v for k, v in step.items() if not any(k in kind for kind in _KINDS)}
        pieces = [{k: v for k, v in step.items() if v and k in kind} for kind in _KINDS]
        pieces = [piece for piece in pieces if piece]
        pieces[0] = around | pieces[0]
        spoken = next((piece for piece in pieces if "content" in piece), pieces[-1])
        deltas: list[Delta] = []
        for piece in pieces:
            last = piece is pieces[-1]
            part = {**choice, "delta": piece} | ({} if last else {"finish_reason": None})
            if piece is not spoken and "logprobs" in part:
                part["logprobs"] = None
            deltas += self._steps(_with(event, part, last=last), part, counted if last else None)
        return deltas

    # -- whole

    def answer(self, data: bytes) -> Answer:
        """The body of a once-answer."""
        body = object_in(data, self._backend)
        choices = body.get("choices")
        if type(choices) is not list or not choices:
            raise self._broken("answered without a choice")
        model = body.get("model")
        return Answer(
            choices=tuple(self._choice(at, choice) for at, choice in enumerate(choices)),
            usage=usage_of(body.get("usage")),
            model=model if type(model) is str else "",
            source=body if self._own else None,
            raw=data if self._raw else b"",
        )

    def _choice(self, at: int, choice: Any) -> Choice:
        if type(choice) is not dict:
            raise self._broken("answered with a choice that is not an object")
        message = choice.get("message")
        if type(message) is not dict:
            if "text" not in choice and not choice.get("error"):
                raise self._broken("answered with a choice that has no message")
            message = {"content": choice.get("text")}
        index, reason = choice.get("index"), choice.get("finish_reason")
        read = Choice(
            index if type(index) is int else at,
            self._parts(choice, message),
            None if reason is None else self._finish(choice, reason),
            stop_sequence(choice),
        )
        if self._likely:
            read.logprobs = of_text(logprobs_of(choice), read.text)
        return read

    def _parts(self, choice: dict[str, Any], message: dict[str, Any]) -> tuple[Part, ...]:
        content = message.get("content")
        silent = _SPOKEN.isdisjoint(message) and "error" not in choice
        if silent and type(content) is str and content:
            return (Text(content),)
        parts: list[Part] = []
        text, reasoning, signature, refusal, calls = self._said(choice, message)
        if reasoning or signature:
            parts.append(Reasoning(reasoning, signature))
        if text:
            parts.append(Text(text))
        if refusal:
            parts.append(Refusal(refusal))
        for call in calls:
            parts.append(ToolCall(call.id, call.name, call.arguments or "{}", call.extra or {}))
        return tuple(parts)

    # -- of both

    def _calls(self, said: dict[str, Any]) -> Sequence[ToolCallDelta]:
        """Its tool calls; none for null and [] (litellm#29286)."""
        calls = said.get("tool_calls")
        if type(calls) is list and calls:
            return [self._call(call) for call in calls if type(call) is dict]
        legacy = said.get("function_call")
        if type(legacy) is dict:
            return [self._call({"index": 0, "function": legacy})]
        return ()

    def _call(self, call: dict[str, Any]) -> ToolCallDelta:
        function = call.get("function")
        if type(function) is not dict:
            function = {}
        arguments = function.get("arguments")
        if arguments is None:
            arguments = ""
        elif type(arguments) is not str:
            arguments = function["arguments"] = _encode(arguments).decode()
        index, given, name = call.get("index"), call.get("id"), function.get("name")
        name = name if type(name) is str else ""
        extra = call.get(_CALL_EXTRA)
        return ToolCallDelta(
            index if type(index) is int else -1,
            given if type(given) is str else "",
            self._names.get(name, name),
            arguments,
            {_CALL_EXTRA: extra} if extra else None,
        )

    def _finish(self, choice: dict[str, Any], reason: Any) -> str | None:
        """Why it ended, in our words; in `choice` too, which may go on to a client of OpenAI's."""
        if type(reason) is not str or not reason:
            choice["finish_reason"] = None
            return None
        if known := finish.OPENAI.get(reason):
            return known
        known = finish.other_word(reason)
        if known is None:
            raise self._broken(f"gave up on its answer ({reason.lower()})")
        choice["finish_reason"] = known
        return known

    def _broken(self, what: str) -> BackendProtocolError:
        return broken(self._backend, what)


def _with(event: dict[str, Any], choice: Any, *, last: bool) -> dict[str, Any]:
    """`event` with `choice` alone; its usage stays with the last."""
    alone = {**event, "choices": [choice]}
    if not last and "usage" in alone:
        alone["usage"] = None
    return alone
