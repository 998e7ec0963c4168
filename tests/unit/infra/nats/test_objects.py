import msgspec
import pytest

from appliance.infra.nats.objects import Reference, ReferenceMessage, is_reference

REFERENCE = msgspec.json.encode(
    ReferenceMessage(
        event_id="t:pipeline.knowledge.chat.persist",
        trace_id="t",
        correlation_id="c",
        conversation_id="c",
        occurred_at="2026-11-21T14:27:01.123456Z",
        schema="knowledge.chat.persist/1",
        host="desk",
        payload_ref=Reference("PAYLOADS", "t:pipeline.knowledge.chat.persist", 9, "0" * 64),
    )
)
OBJECT = b'{"bucket":"PAYLOADS","object":"x","size":9,"sha256":"%s"}' % (b"0" * 64)


def test_what_put_publishes_is_a_reference() -> None:
    assert is_reference(REFERENCE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"}}",
        b'{"event_id":"t","answer":"an answer"}',
        # A prompt that quotes one, as JSON writes it.
        msgspec.json.encode({"event_id": "t", "answer": REFERENCE.decode()}),
        msgspec.json.encode({"event_id": "t", "params": {"x": 1, "payload_ref": "y"}}),
        # A caller's own object of that name, at the very end of an event.
        b'{"event_id":"t","params":{"x":1,"payload_ref":%s}}' % OBJECT,
        b'{"event_id":"t","params":1,"payload_ref":%s}' % OBJECT,
        # An event with an envelope and more.
        REFERENCE.replace(b',"payload_ref"', b',"answer":"y","payload_ref"'),
        REFERENCE.replace(b'"host":"desk",', b""),
        REFERENCE.replace(b'"size":9', b'"size":"9"'),
        REFERENCE[1:],
        b'\xff,"payload_ref":{"bucket":"x"}}',
    ],
)
def test_what_only_looks_like_one_is_none(data: bytes) -> None:
    assert not is_reference(data)
