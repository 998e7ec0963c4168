"""One exchange while it is in progress: what was asked, decided, answered, and the record it ends
as."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.access.keys import Key
from appliance.domain.chat.attempts import Attempts
from appliance.domain.chat.returned import returned_results
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Exchange, Retrieval, Status
from appliance.domain.identity import Identity
from appliance.domain.routing.candidate import Plan

_UNTOLD = Usage()


@dataclass(slots=True)  # not frozen: one is made per exchange
class Caller:
    """Who asks: the ids of the exchange and the key, None where nobody needs one."""

    identity: Identity
    surface: str
    key: Key | None = None


@dataclass(slots=True)
class Turn:
    """`wall` is Unix seconds; `monotonic` and `started` are the event loop's time."""

    request: ChatRequest
    caller: Caller
    host: str
    wall: float
    started: float
    monotonic: Callable[[], float]
    plan: Plan | None = None
    attempts: Attempts | None = None
    route: str = "direct"
    provider: str = ""
    retrieval: Retrieval | None = None
    message_count: int = 0  # as a backend is asked, injected ones included; 0 before that
    dropped: tuple[str, ...] = ()  # fields of the request that the answering backend was not sent
    transparent: bool = False  # knowledge came by configuration: nothing of it shows in the body
    text: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: dict[int, ToolCallDelta] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Usage | None = None
    response_model: str = ""
    first_token_s: float | None = None
    content_seen: bool = False
    answered: bool = False  # a backend's stream has come to its end
    expires_at: float = float("inf")  # monotonic; set by whoever bounds a stream
    committed: bool = False  # a 200 has gone out: errors are in band from here on
    recorded: Exchange | None = None

    def elapsed(self) -> float:
        """Seconds since the arrival of the request."""
        return self.monotonic() - self.started

    def stopwatch(self) -> Callable[[], float]:
        """`elapsed` for what this turn holds: it must not hold the turn, which would then live,
        request and all, until the collector finds it."""
        monotonic, started = self.monotonic, self.started
        return lambda: monotonic() - started

    def observe(self, delta: Delta) -> None:
        """Add one step of the answer to what is known of it."""
        if delta.has_content and not self.content_seen:
            self.content_seen = True
            self.first_token_s = self.elapsed()
        if delta.index == 0:
            if delta.text:
                self.text.append(delta.text)
            elif delta.reasoning:
                self.thoughts.append(delta.reasoning)
            elif delta.refusal:
                self.text.append(delta.refusal)
            if delta.finish_reason:
                self.finish_reason = delta.finish_reason
            for step in delta.tool_calls:
                self._add_call(step)
        if delta.usage is not None:
            self.usage = delta.usage
        if delta.model:
            self.response_model = delta.model

    def forget_attempt(self) -> None:
        """Another backend takes over: what the last one told before any content is void."""
        self.usage = None
        self.response_model = ""

    def observe_answer(self, answer: Answer) -> None:
        """Take over a whole answer."""
        first = answer.first
        self.content_seen = True
        self.first_token_s = self.elapsed()
        self.text.append(first.text or first.refusal)
        self.thoughts.append(first.reasoning)
        self.finish_reason = first.finish_reason
        self.usage = answer.usage
        self.response_model = answer.model
        self.calls = {
            n: ToolCallDelta(n, call.id, call.name, call.arguments)
            for n, call in enumerate(first.tool_calls)
        }

    def _add_call(self, step: ToolCallDelta) -> None:
        index = step.index
        known = self.calls.get(index)
        begins = bool(step.name and (known is None or (step.id and step.id != known.id)))
        if index < 0 or (begins and known is not None):  # of a raw stream, which nobody settled
            index = max(self.calls, default=-1) + (begins or not self.calls)
        call = self.calls.setdefault(index, ToolCallDelta(index))
        call.id = step.id or call.id
        call.name = step.name or call.name
        call.arguments += step.arguments

    def exchange(self, status: Status, http_status: int, error: Exception | None) -> Exchange:
        """The record of this turn as it stands now."""
        request, plan, attempts = self.request, self.plan, self.attempts
        ids, extensions = self.caller.identity, self.request.extensions
        usage = self.usage or _UNTOLD
        return Exchange(
            trace_id=ids.trace_id,
            correlation_id=ids.correlation_id,
            conversation_id=extensions.conversation or ids.correlation_id,
            occurred_at=self.wall,
            host=self.host,
            status=status,
            http_status=http_status,
            operation=request.operation,
            surface=self.caller.surface,
            stream=request.stream,
            route=self.route,
            request_model=request.model,
            selected_model=plan.selected if plan else "",
            response_model=self.response_model,
            backend=attempts.current.backend if attempts else "",
            provider=self.provider,
            router_reason=plan.reason if plan else "",
            candidates=tuple([c.backend for c in plan.candidates]) if plan else (),
            messages=tuple([m.source for m in request.messages]),
            message_count=self.message_count,
            params=request.params,
            dropped=self.dropped or request.dropped,
            answer="".join(self.text),
            reasoning="".join(self.thoughts),
            tool_calls=tuple([_recorded(self.calls[n]) for n in sorted(self.calls)]),
            tool_results=returned_results(request.messages),
            finish_reason=self.finish_reason,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            duration_s=self.elapsed(),
            time_to_first_token_s=self.first_token_s,
            retrieval=self.retrieval,
            attempts=tuple(attempts.tried) if attempts else (),
            error_type=type(error).__name__ if error else "",
            error_message=str(error)[:2000] if error else "",
            project=extensions.project,
            key_name=self.caller.key.name if self.caller.key else "",
        )


def _recorded(call: ToolCallDelta) -> dict[str, Any]:
    """A call as events and rows have it: OpenAI's words."""
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}
