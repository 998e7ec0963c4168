"""What the routes of the inference role serve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.domain.identity import Identity
from appliance.domain.rerank.ports import Kind
from appliance.transport.middleware import AccessWriter

Direction = Literal["left", "right"]


class Vectors(Protocol):
    """float32, little-endian, row by row; `input_tokens` is what the model read."""

    @property
    def data(self) -> bytes: ...
    @property
    def count(self) -> int: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...


class Embedding(Protocol):
    """The model, as the routes need it."""

    async def embed(
        self,
        texts: list[str],
        *,
        truncate: bool,
        normalize: bool,
        direction: Direction,
        dimensions: int,
    ) -> Vectors:
        """Raises the errors that `answers.failure` knows."""


class Ranking(Protocol):
    """For each text, in order: what the method computes, and the same between 0 and 1."""

    @property
    def raw(self) -> list[float]: ...
    @property
    def scores(self) -> list[float]: ...
    @property
    def input_tokens(self) -> int: ...


class Ranker(Protocol):
    """A reranker, as the routes need it; `model` names it in answers."""

    @property
    def model(self) -> str: ...

    async def rank(
        self, query: str, texts: Sequence[str], *, truncate: bool, direction: Direction
    ) -> Ranking:
        """Raises the errors that `answers.failure` knows."""


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """What `/info` says that does not change.  `max_rerank_texts` and `rerank_timeout_s` are the
    limits of one call to /rerank or /maxsim, `max_body_bytes` of any."""

    model_id: str
    vector_model: str  # what is stored beside the vectors
    dimensions: int
    max_input_tokens: int
    max_batch_tokens: int
    max_queue: int
    max_client_batch_size: int
    max_body_bytes: int
    max_rerank_texts: int
    rerank_timeout_s: float
    version: str


@dataclass(frozen=True, slots=True)
class RoleServices:
    """What the routes serve.  `precision` gives the graph in use and why it is not the first
    choice ("" if it is); `ranker` the reranker of a kind, None where there is none; `count` gets
    status, seconds and tokens of every request to /embed, `count_rerank` kind of reranker first."""

    embedding: Embedding
    ranker: Callable[[Kind], Ranker | None]
    info: RoleInfo
    precision: Callable[[], tuple[str, str]]
    count: Callable[[int, float, int], None]
    count_rerank: Callable[[Kind, int, float, int], None]
    metrics: Callable[[], bytes]
    identify: Callable[[str | None, str | None], Identity]
    monotonic: Callable[[], float]
    access_log: AccessWriter
