import json

import pytest

from appliance.domain.events.exchange import Embedding, Exchange, Returned
from appliance.domain.events.topics import events_of
from appliance.infra.nats.publisher.wire import publish_head
from appliance.infra.nats.shipper.messages import messages_of
from tests.fakes.exchanges import exchange

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
EXCHANGES = {
    "with knowledge": exchange(1),
    "direct": exchange(2, retrieval=None),
    "with tools": exchange(
        3, tool_calls=(CALL, {**CALL, "id": "c2"}), tool_results=(Returned("c0", "look"),)
    ),
    "an embedding": exchange(
        4, operation="embeddings", retrieval=None, embedding=Embedding("request", "e", ("a",))
    ),
    "not stored": exchange(5, store="none"),
    "odd words": exchange(6, correlation_id='a"b\\c\nd', conversation_id="ä\u2028", host='"h"'),
}


@pytest.mark.parametrize("kept", EXCHANGES.values(), ids=EXCHANGES.keys())
def test_messages_are_the_events(kept: Exchange) -> None:
    messages, events = messages_of(kept), list(events_of(kept))
    assert [(m.subject, m.event_id) for m in messages] == [(e.subject, e.event_id) for e in events]
    for message, event in zip(messages, events, strict=True):
        body = json.loads(message.data)
        assert body == json.loads(json.dumps(event.body, default=_plain))
        assert list(body) == list(event.body)
        assert message.kept == message.subject.startswith("pipeline.")
        head = publish_head(message.subject, "", message.event_id, len(message.data))
        assert message.size == int(head.split(b"\r\n")[0].split()[-1])


def _plain(value: object) -> object:
    return {name: getattr(value, name) for name in value.__slots__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("trace_id", ["", "a b", 'a"', "a\r\nNats-Msg-Id: b", "é", "x" * 200])
def test_a_trace_id_that_is_none_is_refused(trace_id: str) -> None:
    with pytest.raises(ValueError, match="not a trace id"):
        messages_of(exchange(1, trace_id=trace_id))
