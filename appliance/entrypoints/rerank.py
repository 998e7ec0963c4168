"""Wires POST /v1/rerank of the gateway."""

import socket
from collections.abc import Callable

from appliance.config.schema import Config
from appliance.domain.chat.service import Clock
from appliance.domain.events.ports import ExchangeSink
from appliance.domain.rerank.record import RecordedReranks
from appliance.domain.rerank.service import RerankService
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.rerank import RerankClient
from appliance.presentation.errors import status_of


def make_rerank(
    config: Config,
    http: HttpClient,
    sinks: tuple[ExchangeSink, ...],
    *,
    clock: Clock,
    unkept: Callable[[], str] | None,
) -> RecordedReranks:
    """`unkept`: see ChatService."""
    service = RerankService(
        RerankClient(config.inference, config.rerank, http),
        max_documents=config.rerank.max_documents,
        timeout_s=config.rerank.timeout_s,
    )
    return RecordedReranks(
        service,
        sinks,
        clock=clock,
        host=socket.gethostname(),
        status_of=status_of,
        unkept=unkept,
    )
