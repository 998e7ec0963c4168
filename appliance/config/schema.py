"""Every table of the configuration, with types, ranges and defaults.  Unknown keys are refused."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
MOST_TOKENS = 2**31 - 1  # as a row takes them
Days = Annotated[int, Meta(ge=0, le=36500)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z")]
Listen = Annotated[str, Meta(pattern=r"^\S+:\d{1,5}\Z")]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: frozen, and strict about its keys."""


class GatewayConfig(Table, frozen=True, kw_only=True):
    """`[gateway]`: where it listens and what it lets in."""

    listen: Listen = "127.0.0.1:8080"
    url: str = ""  # how others reach it; empty: http://<listen>
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 32 * 1024 * 1024
    max_connections: Count = 4096
    header_hold_s: Positive = 10.0
    first_token_timeout_s: Positive = 300.0
    total_timeout_s: Positive = 1800.0
    keepalive_s: Positive = 15.0
    drain_s: Positive = 10.0
    # sha256 hashes of callers' keys; empty: STATE/keys.toml where a state is known
    keys_file: str = ""
    # One secret for all gateways, "env:NAME" or "file:PATH", under which reasoning is signed for
    # clients that hand it back; empty: one of this state's own, made at the first start.
    seal_secret: str = ""
    allowed_hosts: tuple[str, ...] = ()  # beside loopback names and the listen address
    allowed_origins: tuple[str, ...] = ()  # beside the gateway's own; also the CORS list


class RoutingConfig(Table, frozen=True, kw_only=True):
    """`[routing]`: what happens to a name, and to a backend that fails."""

    default_backend: str = ""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    retry_backoff_s: Positive = 0.25
    models_ttl_s: Positive = 30.0
    probe_interval_s: Positive = 10.0  # how often each backend is asked whether it is there
    eject_after: Count = 3  # failures in a row, requests' and probes', until a backend is passed by
    eject_s: Positive = 30.0  # then for this long at least, doubled each time, at most 10 minutes


class BackendConfig(Table, frozen=True, kw_only=True):
    """One `[[backends]]` table: a running server."""

    name: Name
    kind: str  # a key of infra.backends.BACKENDS
    base_url: Url
    api_key: str = ""  # "env:NAME" or "file:PATH"
    max_in_flight: Count = 8
    max_queue: Annotated[int, Meta(ge=0)] = 64
    queue_timeout_s: Positive = 30.0
    connect_timeout_s: Positive = 5.0
    read_timeout_s: Positive = 120.0
    # Ollama only: the context window every model is loaded with, in tokens; 0: as needed.
    num_ctx: Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)] = 0


class PriceConfig(Table, frozen=True, kw_only=True):
    """`price` of a `[[models]]` table, in US dollars a million tokens; never without its source."""

    input: Annotated[float, Meta(ge=0)]
    output: Annotated[float, Meta(ge=0)]
    source: Url
    date: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d\Z")]


class ModelConfig(Table, frozen=True, kw_only=True):
    """One `[[models]]` table: a name or a glob, and what serves it.  Without `backend` it only
    describes."""

    match: Annotated[str, Meta(min_length=1)]
    backend: str = ""
    upstream_model: str = ""
    fallback: tuple[str, ...] = ()
    route: Literal["", "direct", "rag"] = ""
    workspace: str = ""
    context_window: Annotated[int, Meta(ge=0, le=MOST_TOKENS)] = 0  # tokens; 0: not known
    max_output_tokens: Annotated[int, Meta(ge=0)] = 0  # 0: not known
    family: str = ""  # a key of domain.parsing.families.FAMILIES; empty: the generic one
    # What the gateway reads in this model's text; [] hands everything on as it is.
    parsers: tuple[Literal["tool_call", "reasoning", "vision", "output"], ...] | None = None
    capabilities: tuple[Literal["tools", "vision", "reasoning", "embedding"], ...] = ()
    price: PriceConfig | None = None


class MediaConfig(Table, frozen=True, kw_only=True):
    """`[media]`: images and files that requests name by URL; the gateway fetches them itself."""

    allow_private: bool = False  # addresses of private networks too
    max_bytes: Count = 20 * 1024 * 1024
    timeout_s: Positive = 10.0
    max_redirects: Annotated[int, Meta(ge=0, le=10)] = 3


class NatsConfig(Table, frozen=True, kw_only=True):
    """`[nats]`: JetStream.  Empty `url`: no events leave the spool."""

    # One, or several of a cluster with commas between.
    url: Annotated[str, Meta(pattern=r"^((nats|tls)://[^\s,]+(,(nats|tls)://[^\s,]+)*)?\Z")] = ""
    token: str = ""
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1


class PostgresConfig(Table, frozen=True, kw_only=True):
    """`[postgres]`: empty `dsn`: no knowledge, no history."""

    dsn: str = ""
    pool_max: Count = 8
    connect_timeout_s: Positive = 3.0


class InferenceConfig(Table, frozen=True, kw_only=True):
    """`[inference]`: the role's address, and how it batches when this process is that role."""

    url: str = ""
    listen: Listen = "127.0.0.1:3001"
    model_dir: str = ""  # empty: where `appliance build-model` put it
    threads: Annotated[int, Meta(ge=0)] = 0  # 0: onnxruntime decides
    max_batch_tokens: Count = 512
    max_queue: Count = 512
    timeout_s: Positive = 10.0
    # A folder with a ColBERT model of yours (see README); empty: `/maxsim` says that there is none.
    colbert_dir: str = ""


class ResponsesConfig(Table, frozen=True, kw_only=True):
    """`[responses]`: what is stored of POST /v1/responses."""

    store: bool = True  # false: nothing is, and every answer says so
    store_timeout_s: Positive = 2.0  # how long an answer waits for its row, at most
    max_bytes: Annotated[int, Meta(ge=65536)] = 64 * 1024 * 1024  # of one, with its events
    lease_s: Positive = 15.0  # one whose gateway has been silent for so long has failed
    max_background: Count = 64  # at once, of one gateway
    websocket_idle_s: Positive = 3600.0  # a connection without a request is closed


class ModerationConfig(Table, frozen=True, kw_only=True):
    """`[moderation]`: who scores texts.  Empty `url`: the lexicon that is built in."""

    url: Annotated[str, Meta(pattern=r"^(https?://[^\s]+)?\Z")] = ""  # a base with /v1/moderations
    api_key: str = ""  # "env:NAME" or "file:PATH"
    model: str = ""  # of the remote one; empty: as the caller names it
    timeout_s: Positive = 10.0

    def __post_init__(self) -> None:
        """Raises ValueError where the lexicon would silently answer in the place of a server."""
        if not self.url and (self.api_key or self.model):
            raise ValueError("api_key and model are of a server, and url names none")


class RerankConfig(Table, frozen=True, kw_only=True):
    """`[rerank]`: limits of POST /v1/rerank."""

    max_documents: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    timeout_s: Positive = 30.0


class KnowledgeConfig(Table, frozen=True, kw_only=True):
    """`[knowledge]`: chunking, retrieval and injection."""

    workspace: Name = "default"
    chunk_chars: Annotated[int, Meta(ge=100, le=20000)] = 900
    chunk_overlap_chars: Annotated[int, Meta(ge=0)] = 120
    max_file_bytes: Count = 8 * 1024 * 1024
    hits: Annotated[int, Meta(ge=1, le=50)] = 5
    min_score: Annotated[float, Meta(ge=-1, le=1)] = 0.2
    context_share: Annotated[float, Meta(gt=0, lt=1)] = 0.5  # of the window, at most, for chunks
    default_context_window: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] = 4096  # where nobody tells
    retrieve_timeout_s: Positive = 3.0


class SpoolConfig(Table, frozen=True, kw_only=True):
    """`[spool]`: the local record of exchanges on their way to JetStream."""

    dir: str = ""  # empty: STATE/spool
    max_bytes: Annotated[int, Meta(ge=65536)] = 1024 * 1024 * 1024
    segment_bytes: Annotated[int, Meta(ge=4096)] = 8 * 1024 * 1024
    sync_interval_s: Positive = 0.2
    when_full: Literal["serve", "refuse"] = "serve"


class ConsumerConfig(Table, frozen=True, kw_only=True):
    """`[consumer]`: batches from JetStream into PostgreSQL."""

    batch_messages: Count = 500
    batch_wait_s: Positive = 0.05
    max_deliver: Count = 20
    ack_wait_s: Positive = 10.0
    # The stream keeps 72 hours: events older than this raise an alarm.
    lag_alarm_h: Annotated[float, Meta(gt=0, lt=72)] = 48.0
    listen: Annotated[str, Meta(pattern=r"^(\S+:\d{1,5})?\Z")] = (
        ""  # health and metrics; empty: none
    )


class PrivacyConfig(Table, frozen=True, kw_only=True):
    """`[privacy]`: what of an exchange is kept; see domain/events/privacy.py."""

    store: Literal["full", "metadata", "none"] = "full"


class RetentionConfig(Table, frozen=True, kw_only=True):
    """`[retention]`: days after which rows are deleted, by table; 0: never.  Done by the consumer,
    once an hour."""

    chat_history: Days = 0
    chat_pairs: Days = 0
    embedding_events: Days = 0
    retrieve_events: Days = 0
    compose_events: Days = 0
    flow_lineage: Days = 0
    tool_calls: Days = 0  # and tool_results
    feedback: Days = 0
    pipeline_runs: Days = 0
    dead_letters: Days = 0
    rerank_scores: Days = 0
    api_responses: Days = 30  # by the day they were made; one in use as a previous one, too


class DagsterConfig(Table, frozen=True, kw_only=True):
    """`[dagster]`: the orchestrator's daemon and web server, and the runs they start."""

    home: str = ""  # DAGSTER_HOME; empty: STATE/dagster
    dsn: str = ""  # its own database; empty: `dagster` on the server of `[postgres] dsn`
    listen: Annotated[str, Meta(pattern=r"^(\S+:\d{1,5})?\Z")] = (
        ""  # the web server; empty: 127.0.0.1:3000, under `up` any free port
    )
    allowed_hosts: tuple[str, ...] = ()  # beside loopback names and the listen address
    run_events: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000  # at most, of one run
    max_runs: Count = 2  # at once
    runs_every_s: Positive = 60.0  # of one sensor, after ten in a row; sooner when much waits
    ack_wait_s: Positive = 30.0  # how long a run that died keeps its messages from the next
    freshness_s: Positive = 600.0  # events older than this and not yet rows fail the check
    keep_runs_days: Annotated[int, Meta(ge=1, le=3650)] = 14  # runs, their events and logs
    keep_runs: Annotated[int, Meta(ge=1, le=10_000_000)] = 5_000  # at most so many of them
    keep_ticks_days: Annotated[int, Meta(ge=1, le=3650)] = 3


class DatasetConfig(Table, frozen=True, kw_only=True):
    """`[dataset]`: which pairs become training data, and how they are divided.  An empty list
    lets everything through; lengths are characters."""

    dir: str = ""  # empty: STATE/datasets
    context: Literal["pair", "conversation"] = "pair"  # what stands before the response
    finish_reasons: tuple[str, ...] = ("stop",)
    tool_calls: bool = False  # pairs whose response has tool calls, too
    min_prompt_chars: Annotated[int, Meta(ge=0)] = 1
    max_prompt_chars: Annotated[int, Meta(ge=1)] = 100_000
    min_response_chars: Annotated[int, Meta(ge=0)] = 1
    max_response_chars: Annotated[int, Meta(ge=1)] = 100_000
    languages: tuple[Annotated[str, Meta(pattern=r"^[a-z]{2,3}\Z")], ...] = ()  # ISO 639
    projects: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    min_rating: Annotated[int, Meta(ge=-5, le=5)] = 0  # of those that were rated
    rated_only: bool = False
    # Jaccard similarity of word shingles from which on two pairs are one; 1: only the same.
    near_duplicates: Annotated[float, Meta(gt=0, le=1)] = 0.9
    validation_share: Annotated[float, Meta(ge=0, lt=1)] = 0.1


class LogConfig(Table, frozen=True, kw_only=True):
    """`[log]`: one JSON object a line, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Table, frozen=True, kw_only=True):
    """The whole configuration, defaults and file laid together."""

    gateway: GatewayConfig = GatewayConfig()
    routing: RoutingConfig = RoutingConfig()
    backends: tuple[BackendConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    media: MediaConfig = MediaConfig()
    nats: NatsConfig = NatsConfig()
    postgres: PostgresConfig = PostgresConfig()
    inference: InferenceConfig = InferenceConfig()
    responses: ResponsesConfig = ResponsesConfig()
    moderation: ModerationConfig = ModerationConfig()
    rerank: RerankConfig = RerankConfig()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    spool: SpoolConfig = SpoolConfig()
    consumer: ConsumerConfig = ConsumerConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    retention: RetentionConfig = RetentionConfig()
    dagster: DagsterConfig = DagsterConfig()
    dataset: DatasetConfig = DatasetConfig()
    log: LogConfig = LogConfig()
