"""What the gateway talks to, wired: made here, opened and closed by the lifespan, asked by `/ready`
whether it is there."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.config.schema import Config, SpoolConfig
from appliance.domain.errors import PartUnavailable
from appliance.entrypoints.backends import make_backend
from appliance.entrypoints.pipeline_lag import PipelineLag
from appliance.entrypoints.readiness import Check
from appliance.infra.backends import Backend
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.client import InferenceClient
from appliance.infra.media.fetch import UrlFetcher
from appliance.infra.nats.consumer.lag_watch import LagAlarm
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.nats.streams import HOUR_S
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.spool.spool import Spool


@dataclass(frozen=True, slots=True)
class Adapters:
    """What the gateway talks to; opened and closed by the lifespan."""

    http: HttpClient
    backends: Mapping[str, Backend]
    fetcher: UrlFetcher
    postgres: PostgresPool
    inference: InferenceClient
    spool: Spool
    shipper: Shipper
    lag: PipelineLag


def make_adapters(config: Config, spool_dir: Path) -> Adapters:
    """Nothing is opened yet.  Raises ConfigError for an unknown kind of backend."""
    http = HttpClient()
    spool = Spool(spool_dir, config.spool)
    knowledge, postgres = config.knowledge, config.postgres
    return Adapters(
        http=http,
        backends={b.name: make_backend(b, http) for b in config.backends},
        fetcher=UrlFetcher(config.media, http),
        postgres=PostgresPool(
            postgres.dsn,
            max_size=postgres.pool_max,
            connect_timeout_s=postgres.connect_timeout_s,
            timeout_s=knowledge.retrieve_timeout_s,
        ),
        inference=InferenceClient(config.inference, http),
        spool=spool,
        shipper=Shipper(spool, config.nats, socket.gethostname()),
        lag=PipelineLag(config.nats, LagAlarm(config.consumer.lag_alarm_h * HOUR_S)),
    )


def checks(config: Config, adapters: Adapters) -> dict[str, Check]:
    """The parts `/ready` names, and how to ask them."""

    async def nats() -> None:
        if not config.nats.url:
            raise PartUnavailable("not configured: events wait in the spool", part="nats")
        if why := adapters.shipper.last_error or (
            "" if adapters.shipper.connected else "not there"
        ):
            raise PartUnavailable(f"{why}: events wait in the spool", part="nats")

    async def spool() -> None:
        if problem := adapters.spool.degraded:
            raise PartUnavailable(problem, part="spool")

    return {
        "inference": adapters.inference.ping,
        "postgres": adapters.postgres.ping,
        "nats": nats,
        "spool": spool,
        "consumer": adapters.lag.check,
    }


def unkept(config: SpoolConfig, spool: Spool) -> Callable[[], str] | None:
    """`[spool] when_full`: what cannot be kept is served all the same, or refused."""
    return (lambda: spool.degraded) if config.when_full == "refuse" else None
