"""Responses on their way into the store."""

import time

from appliance.domain.responses.record import NewResponse, Status

FRAME = b"event: response.output_text.delta\ndata: {}\n\n"


def response(
    trace_id: str,
    *,
    status: Status = "completed",
    previous: str = "",
    resource: bytes = b'{"object":"response"}',
) -> NewResponse:
    """One of this moment, named after its trace id; `previous` is the trace id of another."""
    return NewResponse(
        id=f"resp_{trace_id}",
        trace_id=trace_id,
        correlation_id=f"caller of {trace_id}",
        conversation_id=f"talk of {trace_id}",
        key_name="laptop",
        created_at=time.time(),
        status=status,
        model="small",
        resource=resource,
        input_items=b'[{"id":"msg_1"}]',
        previous_response_id=previous and f"resp_{previous}",
    )
