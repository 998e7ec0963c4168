"""From the body of a Responses request to ResponseRequest.  Step 3 of the path; pure.

The items of the request are kept as they are listed (items.py); what they say becomes messages
(conversation.py), here for those of the request and in `continued` for those before it; the rest is
in options.py.  What the answer repeats of the request is its `echo` (resource.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Text
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item, ResponseRequest
from appliance.presentation.extensions import FIELDS, extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.openai_responses.conversation import (
    TRIGGER,
    Entry,
    entries_of,
    is_cut_call,
    messages_of,
    require_referred,
    standing,
    unread_types,
)
from appliance.presentation.openai_responses.items import type_of, whole_items
from appliance.presentation.openai_responses.options import (
    ENCRYPTED,
    OPTION_NAMES,
    AskedOptions,
    asked_options,
    unhonoured_includes,
)
from appliance.presentation.openai_responses.resource import echo_of
from appliance.presentation.openai_responses.tools import brings_tools, names_of
from appliance.presentation.openai_responses.wire import WireRequest

DIALECT = "openai_responses"
PLACE = "input"
_UNSERVED = {
    "conversation": "conversations are not kept here; continue with previous_response_id",
    "prompt": "no prompt templates are kept here; send input and instructions",
}


@dataclass(frozen=True, slots=True)
class WireResponseRequest(ResponseRequest):
    """With what its encoder needs: `echo` is repeated in the resource; `summaries`: reasoning goes
    out as its summary; `encrypted`: and sealed."""

    echo: Mapping[str, Any] = field(default_factory=dict)
    summaries: bool = False
    encrypted: bool = False


def decode(body: bytes, headers: Mapping[str, str]) -> WireResponseRequest:
    """Raises InvalidRequest naming the field; `headers` (lower case) may carry the x- extensions.

    `continued` raises it too: whether a reference leads anywhere is known only there.
    """
    sent = decode_object(body)
    wire = convert(sent, WireRequest)
    _require_served(sent, wire)
    items = whole_items(sent.get("input"), body)
    own = _Own(wire, sent, items, headers)
    chat, said = own.read(items)  # what is wrong with it is said before anything is looked up
    return WireResponseRequest(
        items=items,
        continued=partial(_continued, own, chat, said),
        model=wire.model or "",
        stream=bool(wire.stream),
        store=wire.store is not False,
        background=bool(wire.background),
        compacts=bool(items) and type_of(items[-1]) == TRIGGER,
        previous_response_id=wire.previous_response_id or "",
        echo=echo_of(wire, sent),
        summaries=_wants_summaries(wire),
        encrypted=ENCRYPTED in (wire.include or ()),
    )


def _require_served(sent: Mapping[str, Any], wire: WireRequest) -> None:
    for name, why in _UNSERVED.items():
        if sent.get(name) is not None:
            raise InvalidRequest(f"{name}: {why}", param=name)
    # No items are no mistake yet: Codex prepares a turn with none, and instructions may be enough.
    if not (wire.input or wire.previous_response_id or wire.input == []):
        raise InvalidRequest(f"{PLACE}: a text or items are needed", param=PLACE)


@dataclass(frozen=True, slots=True)
class _Own:
    """A request, without those it continues."""

    wire: WireRequest
    sent: Mapping[str, Any]
    items: Sequence[Item]
    headers: Mapping[str, str]

    def read(self, items: Sequence[Item]) -> tuple[ChatRequest, list[Entry]]:
        """What it asks for, still without messages, and what its own items say; `items` are all
        that may bring tools."""
        wish = asked_options(self.wire, self.sent, items)
        chat = _chat_request(self, wish)
        return chat, entries_of(self.items, PLACE, names_of(wish.options.tools))


def _chat_request(own: _Own, wish: AskedOptions) -> ChatRequest:
    wire = own.wire
    strangers = {name for name in own.sent if name.startswith("x_")} - FIELDS
    return ChatRequest(
        model=wire.model or "",
        messages=(),
        stream=bool(wire.stream),
        include_usage=True,
        dialect=DIALECT,
        params=wish.params,
        options=wish.options,
        option_names=OPTION_NAMES,
        extensions=_extensions(wire, own.headers),
        dropped=(
            *sorted(strangers),
            *unhonoured_includes(wire),
            *(f"{PLACE}.{kind[:64]}" for kind in unread_types(own.items)),
        ),
        signs_reasoning=True,
    )


def _continued(
    own: _Own, chat: ChatRequest, said: Sequence[Entry], earlier: Sequence[Item]
) -> ChatRequest:
    """See ResponseRequest.continued."""
    require_referred(own.items, earlier, PLACE)
    if brings_tools(earlier):
        chat, said = own.read([*earlier, *own.items])
    # A call that was cut in the middle was not made, and has no result.
    made = [item for item in earlier if not is_cut_call(item)]
    before = entries_of(made, "previous_response_id", names_of(chat.options.tools))
    messages = tuple(messages_of(standing([*before, *said])))
    if instructions := own.wire.instructions:
        source = {"role": "system", "content": instructions}
        messages = (Message("system", (Text(instructions),), source), *messages)
    return replace(chat, messages=messages)


def _wants_summaries(wire: WireRequest) -> bool:
    asked = wire.reasoning
    summary = (asked.summary or asked.generate_summary) if asked else None
    return bool(summary) and summary != "none"


def _extensions(wire: WireRequest, headers: Mapping[str, str]) -> Extensions:
    return extensions(
        {
            "route": wire.x_route,
            "workspace": wire.x_workspace,
            "project": wire.x_project,
            "conversation": wire.x_conversation,
        },
        headers,
    )
