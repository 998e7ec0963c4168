"""The record of a call that is no chat: an embedding, a moderation, a rerank; finished, failed and
cancelled ones.  Called by their services; what is special to one of them it says itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import BackendError
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.ledger import Ledger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known before anybody is asked; `operation` is Exchange's, `model` the one asked
    for."""

    operation: str
    model: str
    caller: Caller
    extensions: Extensions


class Recorder:
    """Hands every call to the ledger before its answer leaves."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Clock,
        host: str,
        status_of: Callable[[Exception | None], int],
    ) -> None:
        """`status_of` gives the HTTP status of an error, and of None for who left."""
        self._ledger = ledger
        self._clock = clock
        self._host = host
        self._status_of = status_of

    async def run(
        self,
        call: Call,
        ask: Callable[[], Awaitable[T]],
        describe: Callable[[Exchange, T | None], None],
    ) -> T:
        """What `ask` gives.  `describe` adds to the record what the answer, None without one, says.

        Raises what `ask` raises, and PartUnavailable where a call must be kept and cannot be.
        """
        exchange, started = self._begun(call), self._clock.monotonic()
        answer: T | None = None
        try:
            self._ledger.require_room()
            answer = await ask()
            exchange.status, exchange.http_status = "finished", 200
            return answer
        except Exception as exc:
            exchange.status, exchange.http_status = "failed", self._status_of(exc)
            exchange.backend = exc.backend if isinstance(exc, BackendError) else ""
            exchange.error_type, exchange.error_message = type(exc).__name__, str(exc)[:2000]
            raise
        finally:
            exchange.duration_s = self._clock.monotonic() - started
            describe(exchange, answer)
            self._ledger.keep(exchange)

    def _begun(self, call: Call) -> Exchange:
        """As it stands when its caller leaves before there is an answer."""
        ids, key = call.caller.identity, call.caller.key
        return Exchange(
            trace_id=ids.trace_id,
            correlation_id=ids.correlation_id,
            conversation_id=call.extensions.conversation or ids.correlation_id,
            occurred_at=self._clock.wall(),
            host=self._host,
            status="cancelled",
            http_status=self._status_of(None),
            operation=call.operation,
            surface=call.caller.surface,
            route=call.operation,
            request_model=call.model,
            selected_model=call.model,
            project=call.extensions.project,
            key_name=key.name if key else "",
        )


def answered(
    exchange: Exchange, model: str, backend: str, provider: str, input_tokens: int | None = None
) -> None:
    """Say who answered; the fields are Exchange's."""
    exchange.response_model = model
    exchange.selected_model = model or exchange.request_model
    exchange.backend, exchange.provider = backend, provider
    exchange.input_tokens = input_tokens
