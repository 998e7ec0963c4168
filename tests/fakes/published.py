"""Small events of any subject in the real stream, without a gateway."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from nats.js import JetStreamContext

from appliance.infra.nats.objects import Payloads


def body_of(subject: str, number: int, size: int = 100) -> dict[str, Any]:
    """An envelope and `size` characters."""
    return {
        "event_id": f"{subject}:{number}",
        "trace_id": f"t{number}",
        "correlation_id": f"c{number}",
        "conversation_id": "c",
        "occurred_at": f"2026-11-21T14:{number // 60 % 60:02d}:{number % 60:02d}.000000Z",
        "schema": "test/1",
        "host": "desk",
        "text": "x" * size,
    }


async def publish_bodies(
    js: JetStreamContext, subject: str, numbers: Iterable[int], *, size: int = 100
) -> dict[str, int]:
    """In order, one after the other in the stream; their sequences by event id."""
    numbers = list(numbers)
    sequences: dict[str, int] = {}
    for start in range(0, len(numbers), 200):
        bodies = [body_of(subject, number, size) for number in numbers[start : start + 200]]
        acks = await asyncio.gather(*(_publish(js, subject, body) for body in bodies))
        sequences |= {b["event_id"]: seq for b, seq in zip(bodies, acks, strict=True)}
    return sequences


async def publish_reference(
    js: JetStreamContext, subject: str, number: int, size: int
) -> tuple[int, bytes]:
    """An event whose body is in the object store: its sequence, and the body."""
    body = body_of(subject, number, size)
    reference = await Payloads(js).put(body, msgspec.json.encode(body))
    headers = {"Nats-Msg-Id": body["event_id"]}
    ack = await js.publish(subject, reference, headers=headers, timeout=10)
    return ack.seq, msgspec.json.encode(body)


async def _publish(js: JetStreamContext, subject: str, body: dict[str, Any]) -> int:
    headers = {"Nats-Msg-Id": body["event_id"]}
    data = msgspec.json.encode(body)
    return (await js.publish(subject, data, headers=headers, timeout=10)).seq
