"""The gateway's Prometheus metrics, fed by the record of each exchange.  OpenTelemetry's GenAI
names."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from appliance.domain.chat.service import ROUTES
from appliance.domain.events.exchange import Exchange

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_TOKENS = (1.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0)
# A pattern serves any name: what clients make up must not become time series without end.
MAX_MODELS = 100
OTHER_MODEL = OTHER_ROUTE = "other"


_LABELS = ("gen_ai_operation_name", "gen_ai_request_model", "backend", "route")
Labels = tuple[str, str, str, str]


class _Histogram:
    """Counts by bucket and their sum.  The library's own takes a lock for every number, and each
    exchange has four: all of them are written and read on the event loop."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound and how many are at most that, as Prometheus wants them."""
        found, below = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            found.append((bound, float(below)))
        return found


class _Series:
    """The numbers of one (operation, model, backend, route)."""

    __slots__ = ("by_status", "duration", "first_token", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.by_status: dict[str, int] = {}
        self.duration = _Histogram(_SECONDS)
        self.first_token = _Histogram(_SECONDS)
        self.input_tokens = _Histogram(_TOKENS)
        self.output_tokens = _Histogram(_TOKENS)


class GatewayMetrics:
    """An ExchangeSink that counts; `gauges` are read at each scrape."""

    def __init__(
        self, gauges: Callable[[], Iterable[tuple[str, str, str, Mapping[str, float]]]]
    ) -> None:
        self._registry = CollectorRegistry()
        self._models: set[str] = set()
        self._series: dict[Labels, _Series] = {}
        self._registry.register(_Exchanges(self._series))
        self._registry.register(_Gauges(gauges))

    def keep(self, exchange: Exchange) -> bool:
        """Count one exchange."""
        model = self._label(exchange)
        labels = (exchange.operation, model, exchange.backend, _route(exchange))
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series()
        series.by_status[exchange.status] = series.by_status.get(exchange.status, 0) + 1
        series.duration.observe(exchange.duration_s)
        if exchange.time_to_first_token_s is not None:
            series.first_token.observe(exchange.time_to_first_token_s)
        if exchange.input_tokens is not None:
            series.input_tokens.observe(exchange.input_tokens)
        if exchange.output_tokens is not None:
            series.output_tokens.observe(exchange.output_tokens)
        return True

    def _label(self, exchange: Exchange) -> str:
        model = exchange.selected_model
        if model in self._models:
            return model
        # Where nobody was asked the name may be one that its client made up.
        if not model or not exchange.backend or len(self._models) >= MAX_MODELS:
            return OTHER_MODEL
        self._models.add(model)
        return model

    def render(self) -> bytes:
        """The exposition, in Prometheus's text format."""
        return generate_latest(self._registry)


def _route(exchange: Exchange) -> str:
    """That of a request which was refused may be one that its client made up."""
    known = exchange.route in ROUTES or exchange.route == exchange.operation
    return exchange.route if known else OTHER_ROUTE


class _Exchanges(Collector):
    """What was counted, as families."""

    def __init__(self, series: Mapping[Labels, _Series]) -> None:
        self._series = series

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """One family a metric."""
        exchanges = CounterMetricFamily(
            "appliance_exchanges", "Exchanges by how they ended.", labels=(*_LABELS, "status")
        )
        duration = HistogramMetricFamily(
            "gen_ai_server_request_duration_seconds", "From request to last byte.", labels=_LABELS
        )
        first_token = HistogramMetricFamily(
            "gen_ai_server_time_to_first_token_seconds",
            "From request to first content.",
            labels=_LABELS,
        )
        tokens = HistogramMetricFamily(
            "gen_ai_client_token_usage",
            "Tokens of an exchange.",
            labels=(*_LABELS, "gen_ai_token_type"),
        )
        for labels, series in self._series.items():
            for status, count in series.by_status.items():
                exchanges.add_metric((*labels, status), count)
            _add(duration, labels, series.duration)
            _add(first_token, labels, series.first_token)
            _add(tokens, (*labels, "input"), series.input_tokens)
            _add(tokens, (*labels, "output"), series.output_tokens)
        return (exchanges, duration, first_token, tokens)


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], numbers: _Histogram) -> None:
    family.add_metric(labels, numbers.buckets(), numbers.total)


class _Gauges(Collector):
    """Numbers that live elsewhere: (name, help, name of the label or "", {its value: number}).  A
    name that ends in `_total` is a counter's."""

    def __init__(
        self, read: Callable[[], Iterable[tuple[str, str, str, Mapping[str, float]]]]
    ) -> None:
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """One family a row."""
        for name, text, label, values in self._read():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, text, labels=[label] if label else [])
            for value, number in values.items():
                family.add_metric([value] if label else [], number)
            yield family
