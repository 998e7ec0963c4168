"""What `appliance status` shows of the consumer, with and without an address of its own, and of
Dagster, from its start to its first answer."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
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


async def _dagster(parts: Parts) -> list[PartHealth]:
    return [part for part in await health(parts) if part.name.startswith("dagster")]


async def test_dagster_has_no_rows_where_it_is_left_out() -> None:
    assert await _dagster(Parts(gateway=NOWHERE)) == []


async def test_dagster_is_starting_until_it_has_answered_or_was_given_up(tmp_path: Path) -> None:
    place, late = str(tmp_path / "code.sock"), ["dagster-code", "dagster"]
    parts = Parts(gateway=NOWHERE, dagster_code=place, pids={"dagster-code": 7}, awaited=late)
    found = await _dagster(parts)
    assert found == [
        PartHealth("dagster-code", 7, place, False, awaited=True),
        PartHealth("dagster", None, "-", False, awaited=True),
    ]
    assert {(part.word, part.well) for part in found} == {("starting", True)}
    given_up = await _dagster(msgspec.structs.replace(parts, awaited=[]))
    assert {(part.word, part.well) for part in given_up} == {("down", False)}


async def test_a_dagster_that_stands_by_is_healthy_and_says_so(tmp_path: Path) -> None:
    async def stands_by(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(stands_by, "127.0.0.1", 0)
    async with server:
        page = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        parts = Parts(gateway=NOWHERE, dagster_code=str(tmp_path / "none"), dagster=page)
        found = (await _dagster(parts))[1]
    assert found.healthy
    assert found.address == f"{page} (stands by: another dagster role has the database)"


async def test_its_code_server_is_asked_at_its_socket_and_its_page_by_http(
    tmp_path: Path, answering: str
) -> None:
    place = str(tmp_path / "code.sock")
    with socket.socket(socket.AF_UNIX) as code:
        code.bind(place)
        code.listen()
        parts = Parts(gateway=NOWHERE, dagster_code=place, dagster=answering)
        assert [part.healthy for part in await _dagster(parts)] == [True, True]
    # What a dead one leaves behind answers nobody.
    assert [part.healthy for part in await _dagster(parts)] == [False, True]
