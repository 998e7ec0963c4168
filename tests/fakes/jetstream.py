"""Look into the real JetStream: what is in a stream, as a reader would find it."""

from typing import Any

import msgspec
import nats
from nats.js import JetStreamContext

from tests.fixtures_nats import NatsServer


async def stored(server: NatsServer, stream: str = "PIPELINE") -> list[dict[str, Any]]:
    """Every message of `stream`, oldest first, decoded."""
    client = await nats.connect(server.config.url, token=server.config.token)
    try:
        return [msgspec.json.decode(data) for data in await _all(client.jetstream(), stream)]
    finally:
        await client.close()


async def count(server: NatsServer, stream: str = "PIPELINE") -> int:
    """How many messages `stream` holds."""
    client = await nats.connect(server.config.url, token=server.config.token)
    try:
        info = await client.jetstream().stream_info(stream)
        return info.state.messages
    finally:
        await client.close()


async def _all(js: JetStreamContext, stream: str) -> list[bytes]:
    state = (await js.stream_info(stream)).state
    found = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        message = await js.get_msg(stream, sequence)
        found.append(message.data or b"")
    return found
