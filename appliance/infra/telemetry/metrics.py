"""The gateway's Prometheus metrics, fed by the record of each exchange.  OpenTelemetry's GenAI
names."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from appliance.domain.events.exchange import Exchange

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TOKENS = (1, 16, 64, 256, 1024, 4096, 16384, 65536, 262144)
# A pattern serves any name: what clients make up must not become time series without end.
MAX_MODELS = 100
OTHER_MODEL = "other"


@dataclass(frozen=True, slots=True)
class _Series:
    """The histograms of one (operation, model, backend, route)."""

    duration: Histogram
    first_token: Histogram
    input_tokens: Histogram
    output_tokens: Histogram


class GatewayMetrics:
    """An ExchangeSink that counts; `gauges` are read at each scrape."""

    def __init__(
        self, gauges: Callable[[], Iterable[tuple[str, str, Mapping[str, float]]]]
    ) -> None:
        self._registry = CollectorRegistry()
        labels = ("gen_ai_operation_name", "gen_ai_request_model", "backend", "route")
        self._exchanges = Counter(
            "appliance_exchanges",
            "Exchanges by how they ended.",
            (*labels, "status"),
            registry=self._registry,
        )
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From request to last byte.",
            labels,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From request to first content.",
            labels,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of an exchange.",
            (*labels, "gen_ai_token_type"),
            buckets=_TOKENS,
            registry=self._registry,
        )
        self._registry.register(_Gauges(gauges))
        self._models: set[str] = set()
        self._series: dict[tuple[str, str, str, str], _Series] = {}

    def keep(self, exchange: Exchange) -> bool:
        """Count one exchange."""
        model = self._label(exchange.selected_model)
        labels = (exchange.operation, model, exchange.backend, exchange.route)
        series = self._of(labels)
        self._exchanges.labels(*labels, exchange.status).inc()
        series.duration.observe(exchange.duration_s)
        if exchange.time_to_first_token_s is not None:
            series.first_token.observe(exchange.time_to_first_token_s)
        if exchange.input_tokens is not None:
            series.input_tokens.observe(exchange.input_tokens)
        if exchange.output_tokens is not None:
            series.output_tokens.observe(exchange.output_tokens)
        return True

    def _label(self, model: str) -> str:
        if model in self._models:
            return model
        if not model or len(self._models) >= MAX_MODELS:
            return OTHER_MODEL
        self._models.add(model)
        return model

    def _of(self, labels: tuple[str, str, str, str]) -> "_Series":
        """Looking a child up by labels costs more than counting: keep them."""
        if (found := self._series.get(labels)) is None:
            found = self._series[labels] = _Series(
                self._duration.labels(*labels),
                self._first_token.labels(*labels),
                self._tokens.labels(*labels, "input"),
                self._tokens.labels(*labels, "output"),
            )
        return found

    def render(self) -> bytes:
        """The exposition, in Prometheus's text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """Numbers that live elsewhere: (name, help, {label value or "": number}).  A name that ends in
    `_total` is a counter's."""

    def __init__(self, read: Callable[[], Iterable[tuple[str, str, Mapping[str, float]]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """One family a row."""
        for name, text, values in self._read():
            labelled = set(values) != {""}
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, text, labels=["name"] if labelled else [])
            for label, number in values.items():
                family.add_metric([label] if labelled else [], number)
            yield family
