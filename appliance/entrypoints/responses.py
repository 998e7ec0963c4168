"""The responses of the gateway, wired: the service, where it stores them, and how gateways tell
each other of them."""

import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from appliance.config.schema import Config
from appliance.domain.chat.service import ChatService
from appliance.domain.errors import ApplianceError
from appliance.domain.identity import Identity
from appliance.domain.responses.compaction import Compactor
from appliance.domain.responses.production import DEGRADED
from appliance.domain.responses.service import ResponseService
from appliance.domain.responses.wiring import ResponseLimits
from appliance.domain.sealing import Seal
from appliance.entrypoints.lifespan import beside
from appliance.infra.nats.events.responses import NatsResponseEvents
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.responses import PostgresResponseStore
from appliance.presentation.surface import RESPONSES

_log = logging.getLogger("appliance.gateway")


@dataclass(frozen=True, slots=True)
class Responses:
    """The service and what it needs open."""

    service: ResponseService
    compactor: Compactor
    pool: PostgresPool
    store: PostgresResponseStore
    events: NatsResponseEvents

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the time of the block; at its end the rows of what was just answered are written."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.pool)
            stack.push_async_callback(self.store.close)
            await stack.enter_async_context(self.events)
            stack.push_async_callback(self.service.close)
            await stack.enter_async_context(beside(self.service.maintain()))
            yield


def make_responses(config: Config, chat: ChatService, seal: Seal) -> Responses:
    """Nothing is opened yet.  Its connections to PostgreSQL are its own: a search that waits for
    one must not make an answer wait for its row."""
    postgres, settings = config.postgres, config.responses
    pool = PostgresPool(
        postgres.dsn,
        max_size=postgres.pool_max,
        connect_timeout_s=min(postgres.connect_timeout_s, settings.store_timeout_s),
        timeout_s=settings.store_timeout_s,
    )
    store = PostgresResponseStore(pool, stable_s=settings.lease_s)
    events = NatsResponseEvents(config.nats, socket.gethostname())
    service = ResponseService(
        chat,
        store,
        events,
        RESPONSES.wire,
        _limits(config),
        seal=seal,
        monotonic=time.monotonic,
        report=_report,
    )
    return Responses(service, Compactor(chat, seal), pool, store, events)


def _limits(config: Config) -> ResponseLimits:
    settings, gateway = config.responses, config.gateway
    return ResponseLimits(
        hold_s=gateway.header_hold_s,
        store_s=settings.store_timeout_s,
        max_bytes=settings.max_bytes,
        lease_s=settings.lease_s,
        max_background=settings.max_background,
        total_s=gateway.total_timeout_s,
        unstored=_unstored(config),
    )


def _unstored(config: Config) -> str:
    if not config.responses.store:
        return "off"
    if config.privacy.store != "full":
        return "refused:privacy"
    return "" if config.postgres.dsn else DEGRADED


def _report(event: str, error: BaseException, identity: Identity | None = None) -> None:
    ids = {}
    if identity is not None:
        ids = {"correlation_id": identity.correlation_id, "trace_id": identity.trace_id}
    if isinstance(error, ApplianceError):
        said = {**ids, "error": str(error), "kind": type(error).__name__}
        _log.warning(event, extra=said)
    else:
        _log.error("unexpected_error", exc_info=error, extra={**ids, "during": event})
