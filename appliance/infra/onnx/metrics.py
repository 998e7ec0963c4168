"""The inference role's Prometheus metrics.  OpenTelemetry's GenAI names where it has one."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from appliance.infra.onnx.spec import MODEL_ID

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 1024, 2048, 4096, 8192)


class InferenceMetrics:
    """Told of requests by transport and of batches by the batcher."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "appliance_embedding_requests",
            "Requests by HTTP status.",
            ("status",),
            registry=registry,
        )
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From request to answer.",
            ("gen_ai_operation_name", "gen_ai_request_model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens read for a request.",
            ("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_token_type"),
            buckets=_TOKENS,
            registry=registry,
        )
        self._batch_texts = Histogram(
            "appliance_embedding_batch_texts",
            "Texts of a batch.",
            buckets=_COUNTS,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "appliance_embedding_batch_duration_seconds",
            "The model's time for a batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_tokens = Counter(
            "appliance_embedding_batch_tokens",
            "Tokens the model ran, texts and their padding.",
            ("kind",),
            registry=registry,
        )
        self._queue = Gauge(
            "appliance_embedding_queue_depth",
            "Texts accepted and not yet answered.",
            registry=registry,
        )
        self._model = Gauge(
            "appliance_embedding_model_info",
            "The model that serves: its precision, and whether it fell back to it.",
            ("gen_ai_request_model", "precision", "degraded"),
            registry=registry,
        )
        self._cosine = Gauge(
            "appliance_embedding_probe_cosine",
            "Least cosine to the stored probe vectors at start.",
            registry=registry,
        )
        self._reranks, self.maxsim = _rerank_requests(registry), MaxSimBatches(registry)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Read the queue's depth at each scrape."""
        self._queue.set_function(depth)

    def loaded(self, precision: str, degraded: bool, cosine: float) -> None:
        """Say which graph serves."""
        self._model.labels(MODEL_ID, precision, str(degraded).lower()).set(1)
        self._cosine.set(cosine)

    def request(self, status: int, seconds: float, tokens: int) -> None:
        """Count one request to /embed; `tokens` 0 when it failed."""
        self._requests.labels(str(status)).inc()
        if status == 200:
            self._duration.labels("embeddings", MODEL_ID).observe(seconds)
            self._tokens.labels("embeddings", MODEL_ID, "input").observe(tokens)

    def reranked(self, kind: str, status: int, seconds: float, tokens: int) -> None:
        """Count one request to /rerank (`fusion`) or /maxsim."""
        self._reranks.labels(kind, str(status)).inc()
        if status == 200:
            self._duration.labels("rerank", kind).observe(seconds)
            self._tokens.labels("rerank", kind, "input").observe(tokens)

    def batch(self, texts: int, tokens: int, padded_tokens: int, seconds: float) -> None:
        """Count one run of the model."""
        self._batch_texts.observe(texts)
        self._batch_seconds.observe(seconds)
        self._batch_tokens.labels("text").inc(tokens)
        self._batch_tokens.labels("padding").inc(padded_tokens - tokens)

    def render(self) -> bytes:
        """The exposition, in Prometheus's text format."""
        return generate_latest(self._registry)


class MaxSimBatches:
    """Told of the ColBERT model's batches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "appliance_maxsim_batch_duration_seconds",
            "The ColBERT model's time for a batch, during which no vector is made.",
            buckets=_SECONDS,
            registry=registry,
        )

    def batch(self, texts: int, tokens: int, padded_tokens: int, seconds: float) -> None:
        """Count one run of the model."""
        self._seconds.observe(seconds)


def _rerank_requests(registry: CollectorRegistry) -> Counter:
    return Counter(
        "appliance_rerank_requests",
        "Requests by kind of reranker and HTTP status.",
        ("kind", "status"),
        registry=registry,
    )
