"""The consumer's Prometheus metrics: fed by its workers, its watch over the lag and its
retention."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from appliance.infra.nats.consumer.tally import Settled
from appliance.infra.nats.lag import Lag

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
_OUTCOMES = ("written", "forgotten", "retried", "buried")


class ConsumerMetrics:
    """A Tally and LagGauges.  `wall` gives Unix seconds; every durable's series are there from the
    start, so that a rate over the first event is right."""

    def __init__(self, durables: Iterable[str], *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._registry = registry = CollectorRegistry()
        durable = ("durable",)
        self._events = Counter(
            "appliance_consumer_events",
            "Events by what became of them; retried ones come again.",
            ("durable", "outcome"),
            registry=registry,
        )
        self._batches = Counter(
            "appliance_consumer_batches", "Batches committed.", durable, registry=registry
        )
        self._rows = Counter(
            "appliance_consumer_rows",
            "Rows of events by table: inserted, or there already.",
            ("table", "outcome"),
            registry=registry,
        )
        self._duration = Histogram(
            "appliance_consumer_batch_duration_seconds",
            "From a batch in hand to its commit, waiting for the database included.",
            durable,
            buckets=_SECONDS,
            registry=registry,
        )
        self._pruned = Counter(
            "appliance_consumer_pruned_rows",
            "Rows deleted by [retention], by table.",
            ("table",),
            registry=registry,
        )
        self._gauges = {
            name: Gauge(f"appliance_consumer_{name}", text, durable, registry=registry)
            for name, text in (
                ("pending", "Events of the stream that no consumer was handed yet."),
                ("unacked", "Events handed to consumers and not acked."),
                ("lag_seconds", "Age of the oldest event that is not acked."),
                ("lag_alarm", "1 while the lag is above [consumer] lag_alarm_h."),
                ("last_commit_timestamp_seconds", "When a batch was last committed."),
            )
        }
        self._read = Gauge(
            "appliance_consumer_lag_read_timestamp_seconds",
            "When pending, unacked and lag were last read.",
            registry=registry,
        )
        for name in durables:
            self._batches.labels(name)
            self._duration.labels(name)
            for outcome in _OUTCOMES:
                self._events.labels(name, outcome)

    def settled(self, durable: str, settled: Settled) -> None:
        """Count a batch that is over; see tally.Tally."""
        written = settled.written
        counts = {
            "written": settled.events - written.forgotten,
            "forgotten": written.forgotten,
            "retried": settled.retried,
            "buried": settled.buried,
        }
        for outcome, count in counts.items():
            self._events.labels(durable, outcome).inc(count)
        self._batches.labels(durable).inc()
        self._duration.labels(durable).observe(settled.duration_s)
        for table, offered in written.offered.items():
            inserted = written.inserted.get(table, 0)
            self._rows.labels(table, "inserted").inc(inserted)
            self._rows.labels(table, "present").inc(offered - inserted)
        if settled.events:
            self._gauges["last_commit_timestamp_seconds"].labels(durable).set(self._wall())

    def lag(self, lags: Sequence[Lag], alarms: Mapping[str, str]) -> None:
        """Show what was read now; see lag_watch.LagGauges."""
        for lag in lags:
            self._gauges["pending"].labels(lag.durable).set(lag.pending)
            self._gauges["unacked"].labels(lag.durable).set(lag.unacked)
            self._gauges["lag_seconds"].labels(lag.durable).set(lag.oldest_age_s)
            self._gauges["lag_alarm"].labels(lag.durable).set(lag.durable in alarms)
        self._read.set(self._wall())

    def pruned(self, rows: Mapping[str, int]) -> None:
        """Count rows that were deleted because of their age, by table."""
        for table, count in rows.items():
            self._pruned.labels(table).inc(count)

    def render(self) -> bytes:
        """The exposition, in Prometheus's text format."""
        return generate_latest(self._registry)
