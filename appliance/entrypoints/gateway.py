"""The gateway role: wires the path of a request, decides nothing.

Starts without NATS, PostgreSQL and inference; `/ready` names what is missing.
"""

import os
import random
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from appliance.config.keys import keys_file
from appliance.config.load import default_state
from appliance.config.schema import BackendConfig, Config
from appliance.config.seal import seal_secret
from appliance.domain.access.keys import KeyRing
from appliance.domain.access.origin import OriginGuard, is_loopback
from appliance.domain.chat.attempts import RetryPolicy
from appliance.domain.chat.counting import TokenCounts
from appliance.domain.chat.knowledge import Augmenter
from appliance.domain.chat.service import ChatLimits, ChatService, Clock
from appliance.domain.chat.slots import SlotLimits, Slots
from appliance.domain.embeddings.record import RecordedEmbeddings
from appliance.domain.embeddings.service import EmbeddingService
from appliance.domain.errors import ConfigError
from appliance.domain.events.ledger import Ledger
from appliance.domain.events.privacy import Withholding
from appliance.domain.events.recorder import Recorder
from appliance.domain.feedback.service import FeedbackService
from appliance.domain.identity import Identity, TraceIds, identify
from appliance.domain.knowledge.retrieve import Retriever
from appliance.domain.routing.prober import Prober
from appliance.domain.routing.router import Router
from appliance.domain.sealing import Seal
from appliance.entrypoints.adapters import Adapters, checks, make_adapters, unkept
from appliance.entrypoints.gauges import gauges
from appliance.entrypoints.lifespan import KeyWatch, beside
from appliance.entrypoints.moderation import make_moderation
from appliance.entrypoints.options import RunOptions
from appliance.entrypoints.readiness import Readiness
from appliance.entrypoints.rerank import make_rerank
from appliance.entrypoints.responses import Responses, make_responses
from appliance.entrypoints.routing import Routing, make_routing
from appliance.entrypoints.serve import serve, split_listen
from appliance.infra.postgres.vectors import PgVectorStore
from appliance.infra.spool.folder import spool_directory
from appliance.infra.telemetry.logs import AccessLines, configure, soon
from appliance.infra.telemetry.metrics import GatewayMetrics
from appliance.presentation.errors import status_of
from appliance.presentation.surface import SURFACES
from appliance.transport.app import Gateway, HttpSettings, Services, build_app
from appliance.transport.streaming import StreamTiming

_CLOCK = Clock(time.time, time.monotonic)


def run(options: RunOptions) -> None:
    """Serve until told to stop.  Raises ConfigError when it must not or cannot start."""
    config = options.config
    listen = options.listen or config.gateway.listen
    keys = _keys(config, options.state)
    if not options.insecure:
        _require_keys(listen, keys.ring(), options.state)
    configure("gateway", config.log.level)
    state = options.state or default_state()
    gateway, lifespan = create(config, keys, state)
    serve(
        gateway.app,
        listen,
        lifespan,
        max_connections=config.gateway.max_connections,
        drain=partial(gateway.drain, config.gateway.drain_s),
        sockets_over=gateway.sockets_over,
    )


def create(
    config: Config, keys: KeyWatch, state: Path
) -> tuple[Gateway, AbstractAsyncContextManager[None]]:
    """The application and its lifespan.  Raises ConfigError for an unknown kind of backend."""
    adapters = make_adapters(config, spool_directory(config.spool, state))
    backends = adapters.backends
    slots = {b.name: Slots(b.name, _slot_limits(b)) for b in config.backends}
    routing = make_routing(config, backends, clock=time.monotonic)
    metrics = GatewayMetrics(partial(gauges, slots, adapters.spool, routing.health, adapters.lag))
    ledger = Ledger(
        (Withholding(adapters.spool, config.privacy.store), metrics),
        unkept(config.spool, adapters.spool),
    )
    recorder = Recorder(ledger, clock=_CLOCK, host=socket.gethostname(), status_of=status_of)
    seal = Seal(seal_secret(config, state))
    access_log = AccessLines("gateway", config.log.level, later=soon)
    chat = _chat(config, adapters, routing, slots, ledger, seal)
    responses = make_responses(config, chat, seal)
    services = Services(
        chat=chat,
        counts=TokenCounts(routing.router, backends, adapters.fetcher, seal),
        embeddings=_embeddings(config, adapters, routing.router, slots, recorder),
        feedback=FeedbackService(
            ledger, wall=_CLOCK.wall, host=socket.gethostname(), store=config.privacy.store
        ),
        responses=responses.service,
        compactor=responses.compactor,
        moderation=make_moderation(config.moderation, adapters.http, adapters.fetcher, recorder),
        rerank=make_rerank(config, adapters.http, recorder),
        names=routing.router.names,
        models=routing.models,
        ready=Readiness(
            list(backends),
            routing.directory,
            checks(config, adapters),
            routing.health,
            required=("spool",) if config.spool.when_full == "refuse" else (),
        ).report,
        metrics=metrics.render,
    )
    app = build_app(SURFACES, services, _http_settings(config, keys, access_log))
    return app, _lifespan(config, adapters, keys, routing.prober, access_log, responses)


def _chat(
    config: Config,
    adapters: Adapters,
    routing: Routing,
    slots: Mapping[str, Slots],
    ledger: Ledger,
    seal: Seal,
) -> ChatService:
    return ChatService(
        routing.router,
        adapters.backends,
        slots,
        _augmenter(config, adapters),
        ledger,
        retry=RetryPolicy(config.routing.retries, config.routing.retry_backoff_s),
        limits=ChatLimits(config.gateway.first_token_timeout_s, config.gateway.total_timeout_s),
        clock=_CLOCK,
        host=socket.gethostname(),
        status_of=status_of,
        health=routing.health,
        fetcher=adapters.fetcher,
        seal=seal,
    )


def _embeddings(
    config: Config,
    adapters: Adapters,
    router: Router,
    slots: Mapping[str, Slots],
    recorder: Recorder,
) -> RecordedEmbeddings:
    service = EmbeddingService(
        adapters.inference,
        router,
        adapters.backends,
        slots,
        total_s=config.gateway.total_timeout_s,
    )
    return RecordedEmbeddings(service, recorder)


def _augmenter(config: Config, adapters: Adapters) -> Augmenter:
    knowledge = config.knowledge
    return Augmenter(
        Retriever(adapters.inference, PgVectorStore(adapters.postgres), knowledge),
        workspace=knowledge.workspace,
    )


def _http_settings(config: Config, keys: KeyWatch, access_log: AccessLines) -> HttpSettings:
    gateway = config.gateway
    return HttpSettings(
        max_body_bytes=gateway.max_body_bytes,
        timing=StreamTiming(gateway.header_hold_s, gateway.keepalive_s),
        guard=OriginGuard(gateway.allowed_hosts, gateway.allowed_origins),
        keys=keys.ring,
        # Ids must be unique, not secret: a system call for each is not worth it.
        identify=partial(_identify, TraceIds(_CLOCK.wall, random.Random(os.urandom(16)).randbytes)),
        monotonic=time.monotonic,
        access_log=access_log.write,
        websocket_idle_s=config.responses.websocket_idle_s,
        started=int(time.time()),
    )


def _identify(ids: TraceIds, correlation: str | None, request_id: str | None) -> Identity:
    return identify(ids.new(), correlation, request_id)


@asynccontextmanager
async def _lifespan(
    config: Config,
    adapters: Adapters,
    keys: KeyWatch,
    prober: Prober,
    access_log: AccessLines,
    responses: Responses,
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        stack.callback(access_log.flush)
        stack.push_async_callback(adapters.http.aclose)
        await stack.enter_async_context(adapters.postgres)
        await stack.enter_async_context(adapters.spool)
        if config.nats.url:
            await stack.enter_async_context(adapters.shipper)
            await stack.enter_async_context(beside(adapters.lag.run()))
        await stack.enter_async_context(responses.running())
        await stack.enter_async_context(keys.watching())
        # The first request need not wait to learn what the backends list.
        await stack.enter_async_context(beside(prober.run(config.routing.probe_interval_s)))
        yield


def _slot_limits(backend: BackendConfig) -> SlotLimits:
    return SlotLimits(backend.max_in_flight, backend.max_queue, backend.queue_timeout_s)


def _keys(config: Config, state: Path | None) -> KeyWatch:
    named = config.gateway.keys_file
    path = keys_file(config, state or default_state())
    if named and path is not None and not path.exists():
        raise ConfigError(f"[gateway] keys_file: {path} does not exist: `appliance keys new NAME`")
    return KeyWatch(path)


def _require_keys(listen: str, keys: KeyRing, state: Path | None) -> None:
    host, _ = split_listen(listen)
    if not keys and not is_loopback(host):
        where = f" --state {state}" if state else ""
        raise ConfigError(
            f"{host} is not a loopback address and no keys are configured: make one with "
            f"`appliance keys{where} new NAME`, or say --insecure if everybody who reaches it "
            "may use it"
        )
