"""WRITERS: who writes the events of which subject.  Adding a subject is one file and one row.

Whoever drives them (the consumer role today) knows `domain.events.delivery.BatchWriter` alone.
"""

from collections.abc import Callable, Mapping

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.delivery import BatchWriter
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.tool_call import TOOL_CALL
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers.chat import ChatWriter
from appliance.infra.postgres.writers.compose import ComposeWriter
from appliance.infra.postgres.writers.embedding import EmbeddingWriter
from appliance.infra.postgres.writers.feedback import FeedbackWriter
from appliance.infra.postgres.writers.lineage import LineageWriter
from appliance.infra.postgres.writers.retrieve import RetrieveWriter
from appliance.infra.postgres.writers.tool_call import ToolCallWriter

WRITERS: Mapping[str, Callable[[PostgresPool], BatchWriter]] = {
    PERSIST: ChatWriter,
    EMBEDDING: EmbeddingWriter,
    RETRIEVE: RetrieveWriter,
    COMPOSE: ComposeWriter,
    LINEAGE: LineageWriter,
    TOOL_CALL: ToolCallWriter,
    FEEDBACK: FeedbackWriter,
}


def writer_for(subject: str, pool: PostgresPool) -> BatchWriter:
    """The writer of `subject`, over `pool`."""
    return WRITERS[subject](pool)
