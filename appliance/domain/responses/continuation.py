"""What a request with `previous_response_id` continues: the items of the responses before it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import InvalidRequest, NotFound
from appliance.domain.responses.ports import ResponseStore
from appliance.domain.responses.record import LIVE, Item, StoredResponse
from appliance.domain.responses.wiring import ResponseWire


@dataclass(frozen=True, slots=True)
class Continued:
    """`items` of all responses before, input and output, oldest first; the `conversation_id` is
    theirs, "" where there is none yet."""

    items: Sequence[Item] = ()
    conversation_id: str = ""

    def joined_by(self, request: ChatRequest) -> ChatRequest:
        """`request` in this conversation, unless its client named one."""
        if not self.conversation_id or request.extensions.conversation:
            return request
        extensions = replace(request.extensions, conversation=self.conversation_id)
        return replace(request, extensions=extensions)


async def continued(
    store: ResponseStore, wire: ResponseWire, response_id: str, key_name: str, *, most: int
) -> Continued:
    """What `response_id`, whose owner is `key_name`, and those before it have said.

    Raises NotFound (code previous_response_not_found) where one of them is not there or another
    key's, InvalidRequest where there are more than `most` of them, or more than the store reads at
    once, or it is still in progress, and PartUnavailable(part="postgres").
    """
    rows = await store.chain(response_id, most=most)
    if not rows or rows[-1].key_name != key_name:
        raise unknown_previous(response_id)
    if rows[-1].status in LIVE:
        raise InvalidRequest(
            f"The response {response_id!r} is still in progress and cannot be continued yet.",
            param="previous_response_id",
            code="previous_response_in_progress",
        )
    if missing := rows[0].previous_response_id:
        if not await store.chain(missing, most=1):
            raise unknown_previous(missing)
        raise InvalidRequest(
            f"{response_id!r} continues more than {len(rows)} responses, which is too much to be "
            "read at once: compact the conversation, or start a new one.",
            param="previous_response_id",
            code="previous_response_chain_too_long",
        )
    items = [item for row in rows for item in _items(row, wire)]
    return Continued(items, rows[-1].conversation_id)


def unknown_previous(response_id: str) -> NotFound:
    """The error of a previous response that is not there, for this caller."""
    return NotFound(
        f"Previous response with id {response_id!r} not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def _items(row: StoredResponse, wire: ResponseWire) -> list[Item]:
    return [*wire.decoded(row.input_items), *wire.output_items(row.resource)]
