"""Embeddings for callers, each call with its record: finished, failed and cancelled ones."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.embeddings.ports import Embedded
from appliance.domain.embeddings.service import EmbeddingRequest, EmbeddingService
from appliance.domain.errors import BackendError, PartUnavailable
from appliance.domain.events.exchange import Embedding, Exchange, Status
from appliance.domain.events.ports import ExchangeSink

OPERATION = "embeddings"


@dataclass(frozen=True, slots=True)
class _Call:
    request: EmbeddingRequest
    caller: Caller
    wall: float
    started: float


class RecordedEmbeddings:
    """An EmbeddingService whose every call is handed to `sinks` before its answer is."""

    def __init__(
        self,
        service: EmbeddingService,
        sinks: tuple[ExchangeSink, ...],
        *,
        clock: Clock,
        host: str,
        status_of: Callable[[Exception | None], int],
        unkept: Callable[[], str] | None = None,
    ) -> None:
        """`unkept`: see ChatService."""
        self._service = service
        self._sinks = sinks
        self._clock = clock
        self._host = host
        self._status_of = status_of
        self._unkept = unkept

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> Embedded:
        """Raises what EmbeddingService.embed raises, and PartUnavailable where a call must be kept
        and cannot be."""
        call = _Call(request, caller, self._clock.wall(), self._clock.monotonic())
        status: Status = "cancelled"
        embedded: Embedded | None = None
        error: Exception | None = None
        try:
            if self._unkept is not None and (why := self._unkept()):
                raise PartUnavailable(f"nothing new can be kept: {why}", part="spool")
            embedded = await self._service.embed(request, caller.identity)
            status = "finished"
            return embedded
        except Exception as exc:
            status, error = "failed", exc
            raise
        finally:
            self._record(call, status, embedded, error)

    def _record(
        self, call: _Call, status: Status, embedded: Embedded | None, error: Exception | None
    ) -> None:
        exchange = self._exchange(call, status, embedded, error)
        kept = [sink.keep(exchange) for sink in self._sinks]
        if self._unkept is not None and status == "finished" and not all(kept):
            raise PartUnavailable("this exchange could not be kept", part="spool")

    def _exchange(
        self, call: _Call, status: Status, embedded: Embedded | None, error: Exception | None
    ) -> Exchange:
        request, ids = call.request, call.caller.identity
        took_s = self._clock.monotonic() - call.started
        failed_on = error.backend if isinstance(error, BackendError) else ""
        model = embedded.model if embedded is not None else ""
        tokens = embedded.input_tokens if embedded is not None else None
        return Exchange(
            trace_id=ids.trace_id,
            correlation_id=ids.correlation_id,
            conversation_id=request.extensions.conversation or ids.correlation_id,
            occurred_at=call.wall,
            host=self._host,
            status=status,
            http_status=200 if status == "finished" else self._status_of(error),
            operation=OPERATION,
            surface=call.caller.surface,
            route=OPERATION,
            request_model=request.model,
            selected_model=model or request.model,
            response_model=model,
            backend=embedded.backend if embedded is not None else failed_on,
            provider=embedded.provider if embedded is not None else "",
            params=request.params,
            input_tokens=tokens,
            duration_s=took_s,
            embedding=Embedding(
                "request",
                model or request.model,
                request.texts,
                dimensions=len(embedded.vectors[0]) if embedded is not None else request.dimensions,
                input_tokens=tokens,
                duration_s=took_s,
            ),
            error_type=type(error).__name__ if error else "",
            error_message=str(error)[:2000] if error else "",
            project=request.extensions.project,
            key_name=call.caller.key.name if call.caller.key else "",
        )
