"""Read this first: one chat exchange from the decoded request to the last delta.  Step 4 of the
path.

plan (routing) → fetch images, augment (knowledge) → a backend's slot → answer, parsed, with retries
and fallbacks until a client has seen content → the record into the spool, before the last frame
leaves.  A failed or cancelled exchange is recorded in `finally`.  Knows no HTTP, no wire, no clock
of its own.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from appliance.domain.chat.attempts import Attempts, RetryPolicy
from appliance.domain.chat.knowledge import Augmenter
from appliance.domain.chat.limit import TimeLimit
from appliance.domain.chat.media import inlined
from appliance.domain.chat.parsers import Parser, parser_for
from appliance.domain.chat.ports import ChatBackend, MediaFetcher
from appliance.domain.chat.reasoning import unsealed
from appliance.domain.chat.slots import Slots
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.errors import (
    ApplianceError,
    BackendError,
    BackendTimeout,
    InvalidRequest,
    PartUnavailable,
)
from appliance.domain.events.exchange import Status
from appliance.domain.events.ledger import Ledger
from appliance.domain.routing.candidate import Plan
from appliance.domain.routing.health import Health
from appliance.domain.routing.router import Router
from appliance.domain.sealing import Seal

ROUTES = ("direct", "rag")


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall` gives Unix seconds, `monotonic` the event loop's time."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """`first_token_s` bounds what comes before the first content of a stream, retries and queues
    included;
    `total_s` the whole exchange."""

    first_token_s: float
    total_s: float


class ChatService:
    """One for the process; every exchange is a Turn of its own."""

    def __init__(
        self,
        router: Router,
        backends: Mapping[str, ChatBackend],
        slots: Mapping[str, Slots],
        augmenter: Augmenter,
        ledger: Ledger,
        *,
        retry: RetryPolicy,
        limits: ChatLimits,
        clock: Clock,
        host: str,
        status_of: Callable[[Exception | None], int],
        health: Health,
        fetcher: MediaFetcher,
        seal: Seal,
    ) -> None:
        self._router = router
        self._backends = backends
        self._slots = slots
        self._augmenter = augmenter
        self._ledger = ledger
        self._retry = retry
        self._clock = clock
        self._host = host
        self._status_of = status_of
        self._fetcher = fetcher
        self._seal = seal
        self._health = health
        self.limits = limits

    def turn(self, request: ChatRequest, caller: Caller) -> Turn:
        """A new exchange; nothing has happened yet."""
        return Turn(
            request=request,
            caller=caller,
            host=self._host,
            wall=self._clock.wall(),
            started=self._clock.monotonic(),
            monotonic=self._clock.monotonic,
        )

    async def once(self, turn: Turn) -> Answer:
        """The whole answer; recorded before it is returned.  Raises the error tree."""
        try:
            with TimeLimit(self.limits.total_s, lambda: self.expired(turn)):
                answer = await self._once(turn)
            turn.observe_answer(answer)
            self._record(turn, "finished", None)
            return answer
        except Exception as exc:
            self._record(turn, "failed", exc)
            raise
        finally:
            self._record(turn, "cancelled", None)

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """Deltas from the first one with content on; recorded before it ends.  The caller bounds
        its time (`limits`) and closes it, which aborts the upstream request."""
        try:
            request, attempts = await self._prepare(turn)
            while not turn.answered:
                try:
                    backend, asked, parser = self._choose(turn, request, attempts)
                    held: list[Delta] = []
                    model, identity = attempts.current.upstream_model, turn.caller.identity
                    async with (
                        self._slots[backend.name].slot(),
                        aclosing(backend.stream(asked, model, identity)) as deltas,
                    ):
                        attempts.asking()
                        async for delta in deltas:
                            for step in parser.feed(delta):
                                turn.observe(step)
                                # Held until there is content: another backend may take over till
                                # then, and its opening frames would be a second beginning.
                                if not turn.content_seen:
                                    held.append(step)
                                    continue
                                while held:
                                    yield held.pop(0)
                                yield step
                            if parser.stopped:
                                break
                    for step in parser.end():
                        turn.observe(step)
                        held.append(step)
                    for step in held:
                        yield step
                    turn.answered = True
                    attempts.succeeded()
                except BackendError as exc:
                    await attempts.after(exc, content_seen=turn.content_seen)
                    turn.forget_attempt()
                except ApplianceError as exc:
                    attempts.note_failure(exc)
                    raise
            self._record(turn, "finished", None)
        except Exception as exc:
            self._record(turn, "failed", exc)
            raise
        finally:
            if turn.monotonic() >= turn.expires_at:
                self._record(turn, "failed", self.expired(turn))
            self._record(turn, "cancelled", None)

    def expired(self, turn: Turn) -> BackendTimeout:
        """The error of an exchange that ran into one of its limits."""
        backend = turn.attempts.current.backend if turn.attempts else ""
        if turn.content_seen:
            text = f"the answer was not finished within {self.limits.total_s:g} s"
        elif turn.request.stream:
            limit_s = min(self.limits.first_token_s, self.limits.total_s)
            text = f"no answer began within {limit_s:g} s"
        else:
            text = f"no answer came within {self.limits.total_s:g} s"
        return BackendTimeout(f"{text} (backend {backend or 'none'})", backend=backend)

    def fail(self, turn: Turn, error: Exception) -> None:
        """Record a streamed exchange that its caller gave up on; without effect once it is
        recorded."""
        self._record(turn, "failed", error)

    async def _once(self, turn: Turn) -> Answer:
        request, attempts = await self._prepare(turn)
        while True:
            backend, asked, parser = self._choose(turn, request, attempts)
            try:
                async with self._slots[backend.name].slot():
                    attempts.asking()
                    answer = await backend.complete(
                        asked, attempts.current.upstream_model, turn.caller.identity
                    )
                answer = parser.answer(answer)
                attempts.succeeded()
                return answer
            except BackendError as exc:
                await attempts.after(exc, content_seen=False)
            except ApplianceError as exc:
                attempts.note_failure(exc)
                raise

    async def _prepare(self, turn: Turn) -> tuple[ChatRequest, Attempts]:
        """Plan the route and bring the knowledge along; the request as the backend shall see it."""
        self._ledger.require_room()
        turn.plan = plan = await self._router.plan(turn.request.model)
        turn.transparent = not turn.request.extensions.route
        turn.route = _route(turn.request, plan)
        _require_served(turn.route, turn.request)
        if turn.route == "rag" and turn.caller.key is not None:
            turn.caller.key.require_workspace(self._augmenter.workspace(turn.request, plan))
        request = unsealed(turn.request, self._seal)
        normalise = "vision" in plan.candidates[0].parsing.stages
        request = await inlined(request, self._fetcher, normalise=normalise)
        if turn.route == "rag":
            messages, turn.retrieval = await self._augmenter.augment(
                request,
                plan,
                self._router.context_window(plan),
                turn.caller.identity,
                began_s=turn.elapsed(),
            )
            request = replace(request, messages=messages)
        # Last: an ejected backend has one trial at a time, and this request is sent.
        turn.plan = plan = self._health.order(plan)
        turn.attempts = attempts = Attempts(
            plan.candidates, self._retry, turn.stopwatch(), self._health
        )
        turn.message_count = len(request.messages)
        return request, attempts

    def _choose(
        self, turn: Turn, request: ChatRequest, attempts: Attempts
    ) -> tuple[ChatBackend, ChatRequest, Parser]:
        """Begin a try: the backend to ask now, the request as it is to be asked, and who reads its
        answer."""
        attempts.begin()
        backend, parsing = self._backends[attempts.current.backend], attempts.current.parsing
        turn.provider = backend.dialect
        same = backend.speaks(request.dialect)
        lost = () if same else request.uncarried(backend.carries)
        turn.dropped = request.dropped + lost
        if same and not parsing.stages:
            request = replace(request, raw=True)
        return backend, request, parser_for(request, parsing, self._seal, foreign=not same)

    def _record(self, turn: Turn, status: Status, error: Exception | None) -> None:
        if turn.recorded is not None:
            return
        if turn.attempts is not None:
            turn.attempts.cut_off(error, content_seen=turn.content_seen)
        http_status = 200 if turn.committed or status == "finished" else self._status_of(error)
        turn.recorded = exchange = turn.exchange(status, http_status, error)
        self._ledger.keep(exchange)


def _route(request: ChatRequest, plan: Plan) -> str:
    """What is done beside asking a model: what was asked for, else what the catalog says; there is
    no question to look knowledge up for in a text to be continued."""
    transparent = plan.route if request.operation == "chat" else ""
    return request.extensions.route or transparent or "direct"


def _require_served(route: str, request: ChatRequest) -> None:
    if route == "workflow":
        raise PartUnavailable("no workflow engine is configured", part="workflow")
    if route not in ROUTES:
        raise InvalidRequest(
            f"x_route must be one of {', '.join(ROUTES)}, not {route!r}", param="x_route"
        )
    if route != "direct" and request.operation != "chat":
        raise InvalidRequest(
            f"x_route {route!r} is not for completions: there is no question to look up",
            param="x_route",
        )
