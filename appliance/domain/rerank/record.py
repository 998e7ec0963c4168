"""Reranking for callers, each call with its record: finished, failed and cancelled ones."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.exchange import Exchange, Rerank, Scored, Status
from appliance.domain.events.ports import ExchangeSink
from appliance.domain.rerank.service import Document, Reranked, RerankRequest, RerankService

OPERATION = "rerank"


@dataclass(frozen=True, slots=True)
class _Call:
    request: RerankRequest
    caller: Caller
    wall: float
    started: float


class RecordedReranks:
    """A RerankService whose every call is handed to `sinks` before its answer is."""

    def __init__(
        self,
        service: RerankService,
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

    async def rerank(self, request: RerankRequest, caller: Caller) -> Reranked:
        """Raises what RerankService.rerank raises, and PartUnavailable where a call must be kept
        and cannot be."""
        call = _Call(request, caller, self._clock.wall(), self._clock.monotonic())
        status: Status = "cancelled"
        reranked: Reranked | None = None
        error: Exception | None = None
        try:
            if self._unkept is not None and (why := self._unkept()):
                raise PartUnavailable(f"nothing new can be kept: {why}", part="spool")
            reranked = await self._service.rerank(request, caller.identity)
            status = "finished"
            return reranked
        except Exception as exc:
            status, error = "failed", exc
            raise
        finally:
            self._record(call, status, reranked, error)

    def _record(
        self, call: _Call, status: Status, reranked: Reranked | None, error: Exception | None
    ) -> None:
        exchange = self._exchange(call, status, reranked, error)
        kept = [sink.keep(exchange) for sink in self._sinks]
        if self._unkept is not None and status == "finished" and not all(kept):
            raise PartUnavailable("this exchange could not be kept", part="spool")

    def _exchange(
        self, call: _Call, status: Status, reranked: Reranked | None, error: Exception | None
    ) -> Exchange:
        request, ids = call.request, call.caller.identity
        took_s = self._clock.monotonic() - call.started
        model = reranked.model if reranked is not None else ""
        tokens = reranked.input_tokens if reranked is not None else None
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
            backend="inference" if reranked is not None else "",
            provider="inference" if reranked is not None else "",
            input_tokens=tokens,
            duration_s=took_s,
            rerank=Rerank(
                model or request.model,
                query=request.query,
                documents=len(request.documents),
                top_n=request.top_n,
                scores=_scores(request.documents, reranked) if reranked is not None else (),
                input_tokens=tokens,
                duration_s=took_s,
            ),
            error_type=type(error).__name__ if error else "",
            error_message=str(error)[:2000] if error else "",
            project=request.extensions.project,
            key_name=call.caller.key.name if call.caller.key else "",
        )


def _scores(documents: tuple[Document, ...], reranked: Reranked) -> tuple[Scored, ...]:
    """Every score, best first: also of those that `top_n` leaves out of the answer."""
    return tuple(
        Scored(hit.index, hit.score, digest(documents[hit.index].text), documents[hit.index].name)
        for hit in reranked.hits
    )


def digest(text: str) -> str:
    """By which the same text is known again: sha256 of its UTF-8, in hexadecimal digits."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
