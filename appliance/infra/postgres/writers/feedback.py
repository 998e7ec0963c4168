"""`pipeline.knowledge.feedback` into feedback."""

from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import EventTable, Row, Table

FEEDBACK = EventTable(
    "feedback",
    {
        "feedback_trace_id": "text",
        "rating": "int",
        "comment": "text",
        "project": "text",
        "key_name": "text",
    },
)


class FeedbackEvent(Envelope, kw_only=True):
    """As domain.events.feedback.FeedbackGiven makes it.  Named as the columns: `trace_id` is of the
    exchange that is rated, `feedback_trace_id` the one in the event's envelope."""

    trace_id: str = msgspec.field(name="rated_trace_id")
    feedback_trace_id: str = msgspec.field(name="trace_id")
    rating: Annotated[int, Meta(ge=-5, le=5)]
    comment: str
    project: str
    key_name: str

    @property
    def ids(self) -> tuple[str, str, str]:
        """See Envelope.ids: those of the request that brought it."""
        return self.feedback_trace_id, self.correlation_id, self.conversation_id

    @property
    def about(self) -> str:
        """See Envelope.about."""
        return self.trace_id


_decoder = msgspec.json.Decoder(FeedbackEvent)


class FeedbackWriter(EventWriter[FeedbackEvent]):
    """A row an event."""

    def decode(self, data: bytes) -> FeedbackEvent:
        """See EventWriter.decode."""
        return _decoder.decode(data)

    def rows(self, events: Events[FeedbackEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        return [(FEEDBACK, FEEDBACK.rows(events))]
