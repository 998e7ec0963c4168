"""What `appliance status` shows of the consumer, with and without an address of its own."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from appliance.config.parts import Parts
from appliance.infra.embedded.health import PartHealth, health

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def answering() -> AsyncIterator[str]:
    """The base of a server that answers 200 to whatever it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _consumer(parts: Parts) -> PartHealth:
    (found,) = [part for part in await health(parts) if part.name == "consumer"]
    return found


async def test_a_consumer_with_an_address_is_asked_there(answering: str) -> None:
    parts = Parts(gateway=NOWHERE, consumer=answering, pids={"consumer": os.getpid()})
    assert await _consumer(parts) == PartHealth("consumer", os.getpid(), answering, True)
    deaf = Parts(gateway=NOWHERE, consumer=NOWHERE, pids={"consumer": os.getpid()})
    assert not (await _consumer(deaf)).healthy


async def test_one_without_an_address_is_healthy_while_its_process_is_there() -> None:
    parts = Parts(gateway=NOWHERE, pids={"consumer": os.getpid()})
    assert await _consumer(parts) == PartHealth("consumer", os.getpid(), "-", True)
