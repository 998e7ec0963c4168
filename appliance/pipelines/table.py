"""SUBJECTS: what Dagster runs, one row a subject.  Adding a subject is one row here.

Sensor, job and event asset of a row are made of it by `sensors.py`, `jobs.py` and `assets.py`;
their names are fixed (DESIGN.md 6).  The durables are those of `domain.events.durables`, under
Dagster's own names.
"""

from dataclasses import dataclass

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.durables import DURABLES, Durable, of_dagster
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.tool_call import TOOL_CALL

CHAT_RECORD = "chat_record"
CHAT_PAIR_RECORD = "chat_pair_record"
CHAT_PAIR_DATASET = "chat_pair_dataset"
KNOWLEDGE_EVENTS = "knowledge_events"
FLOW_LINEAGE = "flow_lineage"

PAIR_JOB = "knowledge_chat_pair_materialize"
DATASET_JOB = "chat_pair_dataset"
BACKFILL_JOB = "knowledge_backfill"
HOUSEKEEPING_JOB = "dagster_housekeeping"

SUBJECT_TAG = "appliance/subject"


@dataclass(frozen=True, slots=True)
class Subject:
    """The events of `name` become rows through `asset`; the job goes on to the assets `then`."""

    name: str
    asset: str
    description: str
    then: tuple[str, ...] = ()

    @property
    def durable(self) -> Durable:
        """As Dagster's runs consume it."""
        return of_dagster(DURABLES[self.name])

    @property
    def tables(self) -> tuple[str, ...]:
        """What the writer fills, the main one first."""
        return self.durable.tables

    @property
    def sensor(self) -> str:
        """`nats_dagster_chat_persist`."""
        return f"nats_dagster_{DURABLES[self.name].name}"

    @property
    def job(self) -> str:
        """`knowledge_chat_persist`."""
        return f"knowledge_{DURABLES[self.name].name}"


SUBJECTS: tuple[Subject, ...] = (
    Subject(
        PERSIST,
        CHAT_RECORD,
        "What was said: a row a message in `chat_history`, its text once in `message_contents`, "
        "and a prompt-response pair in `chat_pairs` for every exchange that was answered.",
        then=(CHAT_PAIR_RECORD, KNOWLEDGE_EVENTS),
    ),
    Subject(
        EMBEDDING,
        "embedding_record",
        "What was embedded, by which model: requests for embeddings, and queries for knowledge.",
    ),
    Subject(
        RETRIEVE,
        "retrieve_record",
        "What was looked for in the documents, and every hit with its score; and what rerankers "
        "gave the documents they were sent.",
    ),
    Subject(
        COMPOSE,
        "compose_record",
        "What of the hits was put before the model, what was cut, and how much room there was.",
    ),
    Subject(
        LINEAGE,
        FLOW_LINEAGE,
        "The way of each exchange from request to answer, a row a node with its parents.",
    ),
    Subject(
        TOOL_CALL,
        "tool_call_record",
        "Which tools models asked for, and what came back once a later request brought it.",
    ),
    Subject(
        FEEDBACK,
        "feedback_record",
        "How callers rated answers.",
    ),
)
