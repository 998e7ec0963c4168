"""`pipeline.knowledge.embedding` into embedding_events."""

import msgspec

from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import EventTable, Row, Table

EMBEDDINGS = EventTable(
    "embedding_events",
    {
        "purpose": "text",
        "request_model": "text",
        "model": "text",
        "provider": "text",
        "backend": "text",
        "dimensions": "bigint",
        "input_count": "int",
        "input_tokens": "bigint",
        "texts": "json",
        "status": "text",
        "error_type": "text",
        "error_message": "text",
        "duration_s": "float8",
        "project": "text",
        "key_name": "text",
    },
)


class EmbeddingEvent(Envelope, kw_only=True):
    """As domain.events.embedding.EmbeddingMade makes it."""

    purpose: str
    request_model: str = msgspec.field(name="gen_ai.request.model")
    model: str = msgspec.field(name="gen_ai.response.model")
    provider: str = msgspec.field(name="gen_ai.provider.name")
    backend: str
    dimensions: int | None
    input_count: int
    input_tokens: int | None = msgspec.field(name="gen_ai.usage.input_tokens")
    texts: list[str]
    status: str
    error_type: str = msgspec.field(name="error.type")
    error_message: str = msgspec.field(name="error.message")
    duration_s: float | None
    project: str
    key_name: str


_decoder = msgspec.json.Decoder(EmbeddingEvent)


class EmbeddingWriter(EventWriter[EmbeddingEvent]):
    """A row an event."""

    def decode(self, data: bytes) -> EmbeddingEvent:
        """See EventWriter.decode."""
        return _decoder.decode(data)

    def rows(self, events: Events[EmbeddingEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        return [(EMBEDDINGS, EMBEDDINGS.rows(events))]
