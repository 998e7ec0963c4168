"""The gateway's numbers that live elsewhere: backends, health, spool.  Read at each scrape of
`/metrics`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from appliance.domain.chat.slots import Slots
from appliance.domain.routing.health import Health
from appliance.entrypoints.pipeline_lag import PipelineLag
from appliance.infra.spool.spool import Spool

# Name, help, the label's name ("": none), numbers by its value.
Family = tuple[str, str, str, Mapping[str, float]]
# Fields of SpoolStats, as metrics.
_SPOOL = (
    ("depth_records", "records", "Exchanges that wait for JetStream."),
    ("depth_bytes", "bytes", "What they take on the disk."),
    ("oldest_age_s", "oldest_age_seconds", "How long the oldest has waited, at most."),
    ("shipped", "shipped_total", "Exchanges whose every event is in its stream."),
    ("deduplicated", "deduplicated_total", "Events the stream already had."),
    ("not_kept", "not_kept_total", "Exchanges a full spool or disk could not take."),
    ("poisoned", "poisoned_total", "Records set aside in poison.jsonl."),
    ("torn", "torn_total", "Pieces that a killed writer left, none of them accepted."),
)


def gauges(
    slots: Mapping[str, Slots], spool: Spool, health: Health, lag: PipelineLag
) -> Iterable[Family]:
    """Read at each scrape; nothing here waits."""
    yield (
        "appliance_backend_in_flight",
        "Requests on each backend now.",
        "backend",
        {name: s.in_flight for name, s in slots.items()},
    )
    yield (
        "appliance_backend_queued",
        "Requests waiting for each backend.",
        "backend",
        {name: s.queued for name, s in slots.items()},
    )
    ejected = "1 while a backend is passed by."
    yield "appliance_backend_ejected", ejected, "backend", health.gauge()
    figures = asdict(spool.stats())
    for field, name, text in _SPOOL:
        yield f"appliance_spool_{name}", text, "", {"": float(figures[field])}
    if lag.seconds:
        yield (
            "appliance_pipeline_lag_seconds",
            "Age of the oldest event that each consumer has not written.",
            "durable",
            lag.seconds,
        )
