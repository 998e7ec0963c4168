"""`pipeline.knowledge.chat.persist` into message_contents, chat_history and chat_pairs."""

from appliance.infra.postgres.rows import ChatEvent, ChatRows, decode
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import Row, Table

CONTENTS = Table(
    "message_contents",
    {"hash": "bytea", "content": "text", "message": "json_text"},
    shared=True,
)
HISTORY = Table(
    "chat_history",
    {
        "trace_id": "text",
        "seq": "int",
        "role": "text",
        "content_hash": "bytea",
        "status": "text",
        "finish_reason": "text",
        "correlation_id": "text",
        "conversation_id": "text",
        "stream_sequence": "bigint",
        "detail": "json_text",
        "created_at": "timestamptz",
    },
)
PAIRS = Table(
    "chat_pairs",
    {
        "trace_id": "text",
        "correlation_id": "text",
        "conversation_id": "text",
        "prompt": "text",
        "response": "text",
        "model": "text",
        "backend": "text",
        "route": "text",
        "input_tokens": "bigint",
        "output_tokens": "bigint",
        "finish_reason": "text",
        "tool_calls": "json_text",
        "project": "text",
        "key_name": "text",
        "duration_s": "float8",
        "time_to_first_token_s": "float8",
        "retrieval": "json_text",
        "stream_sequence": "bigint",
        "created_at": "timestamptz",
    },
)


class ChatWriter(EventWriter[ChatEvent]):
    """A row a message, the answer last; a pair for what was answered with 200 and finished."""

    def decode(self, data: bytes) -> ChatEvent:
        """See EventWriter.decode."""
        return decode(data)

    def rows(self, events: Events[ChatEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        rows = ChatRows()
        for delivery, event in events:
            rows.add(event, delivery.sequence)
        return [
            (CONTENTS, sorted(rows.contents.values(), key=_first)),
            (HISTORY, sorted(rows.history, key=_first)),
            (PAIRS, sorted(rows.pairs, key=_first)),
        ]


def _first(row: Row) -> str | bytes:
    key: str | bytes = row[0]
    return key
