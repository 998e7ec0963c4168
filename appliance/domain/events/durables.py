"""DURABLES: who consumes which subject, and into which tables (DESIGN.md 6).

One durable pull consumer a subject and driver: the consumer role's are in the table, `of_dagster`
names Dagster's.  Each driver gets every event, and either alone makes all rows.  The consumer role,
the pipelines, `appliance trace`, `replay`, `forget` and the retention of tables read this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.tool_call import TOOL_CALL

PIPELINE = "PIPELINE"


@dataclass(frozen=True, slots=True)
class Durable:
    """`name` is the consumer's on `stream`; every one of `tables` has `trace_id`,
    `correlation_id`, `conversation_id`, `stream_sequence` and `created_at`.

    `own` is the column with the trace id of the exchange that the row's event is of.  In `feedback`
    that is not `trace_id`, which names the exchange that is rated."""

    name: str
    subject: str
    tables: tuple[str, ...]
    stream: str = PIPELINE
    own: str = "trace_id"


DURABLES: Mapping[str, Durable] = {
    durable.subject: durable
    for durable in (
        Durable("chat_persist", PERSIST, ("chat_history", "chat_pairs")),
        Durable("embedding", EMBEDDING, ("embedding_events",)),
        Durable("retrieve", RETRIEVE, ("retrieve_events", "rerank_scores")),
        Durable("compose", COMPOSE, ("compose_events",)),
        Durable("flow_lineage", LINEAGE, ("flow_lineage",)),
        Durable("tool_call", TOOL_CALL, ("tool_calls", "tool_results")),
        Durable("feedback", FEEDBACK, ("feedback",), own="feedback_trace_id"),
    )
}


def of_dagster(durable: Durable) -> Durable:
    """The same subject and tables, as Dagster's runs consume them."""
    return replace(durable, name=f"dagster_{durable.name}")
