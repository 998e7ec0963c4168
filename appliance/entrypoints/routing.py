"""What routing is made of, wired from the configuration.  Used by the gateway and `appliance
routes`; asks nothing."""

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.config.schema import BackendConfig, Config, ModelConfig
from appliance.domain.chat.ports import ChatBackend
from appliance.domain.routing.candidate import ModelRow
from appliance.domain.routing.catalog import Catalog
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import Change, Ejected, EjectionPolicy, Health
from appliance.domain.routing.models import ModelService
from appliance.domain.routing.prober import Prober
from appliance.domain.routing.router import Router

_log = logging.getLogger("appliance.gateway")
# Names that end so are never looked up outside one's own network.
_OWN_NETWORK = (".local", ".localdomain", ".localhost", ".lan", ".home", ".home.arpa", ".internal")


@dataclass(frozen=True, slots=True)
class Routing:
    """One of each for the process."""

    directory: ModelDirectory
    router: Router
    catalog: Catalog
    health: Health
    prober: Prober
    models: ModelService


def make_routing(
    config: Config, backends: Mapping[str, ChatBackend], *, clock: Callable[[], float]
) -> Routing:
    """Wired, nothing asked yet; `clock` gives seconds that only grow."""
    settings = config.routing
    rows = [model_row(row) for row in config.models]
    directory = ModelDirectory(backends, ttl_s=settings.models_ttl_s, clock=clock)
    policy = EjectionPolicy(settings.eject_after, settings.eject_s)
    health = Health(backends, policy, clock=clock, changed=log_change)
    sparingly = [b.name for b in config.backends if is_hosted(b)]
    router = Router(rows, list(backends), directory, default_backend=settings.default_backend)
    load_s = config.gateway.total_timeout_s
    return Routing(
        directory=directory,
        router=router,
        catalog=Catalog(rows),
        health=health,
        prober=Prober(directory, health, list(backends), sparingly=sparingly),
        models=ModelService(router, directory, backends, health, load_s=load_s),
    )


def model_row(row: ModelConfig) -> ModelRow:
    """One `[[models]]` table as routing reads it."""
    return ModelRow(
        match=row.match,
        backend=row.backend,
        upstream_model=row.upstream_model,
        fallback=row.fallback,
        route=row.route,
        workspace=row.workspace,
        context_window=row.context_window,
        max_output_tokens=row.max_output_tokens,
        family=row.family,
        parsers=None if row.parsers is None else frozenset(row.parsers),
        capabilities=frozenset(row.capabilities),
    )


def is_hosted(backend: BackendConfig) -> bool:
    """True when its address is none of one's own network's: somebody else's service."""
    host = (urlsplit(backend.base_url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_OWN_NETWORK)


def log_change(change: Change) -> None:
    """One line for an ejection, one for a return."""
    if isinstance(change, Ejected):
        _log.warning(
            "backend_ejected",
            extra={
                "backend": change.backend,
                "failures": change.failures,
                "error": change.cause,
                "for_s": change.for_s,
                "ends": "with a trial" if change.for_s else "with a good probe",
            },
        )
    else:
        _log.info(
            "backend_returned",
            extra={"backend": change.backend, "after_s": round(change.after_s, 3)},
        )
