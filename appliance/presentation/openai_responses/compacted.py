"""The answer to `POST /v1/responses/compact`; pure."""

from collections.abc import Sequence

from appliance.domain.conversation.usage import Usage
from appliance.domain.responses.record import Item, id_of
from appliance.presentation.openai_responses.frames import encode_json
from appliance.presentation.openai_responses.resource import usage_object

_NOTHING = Usage(0, 0)


def compacted(
    trace_id: str, created: int, kept: Sequence[Item], sealed: str, usage: Usage | None
) -> bytes:
    """`kept` are the items that stay as they were; `sealed` stands for the conversation.  Usage has
    to be there: zeros where nobody counted."""
    summary = {"id": f"cmp_{trace_id}", "type": "compaction", "encrypted_content": sealed}
    return encode_json(
        {
            "id": id_of(trace_id),
            "object": "response.compaction",
            "created_at": created,
            "output": [*kept, summary],
            "usage": usage_object(usage) or usage_object(_NOTHING),
        }
    )
