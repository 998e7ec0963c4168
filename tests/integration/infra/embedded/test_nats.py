import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError

from appliance.infra.embedded.nats import MAX_PAYLOAD_BYTES, Nats, nats_greets
from appliance.infra.embedded.wheels import nats_server
from tests.fakes.ports import free_port


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Nats]:
    server = Nats(nats_server(), tmp_path / "nats", free_port(), "secret")
    await server.configure()
    process = await asyncio.create_subprocess_exec(
        *server.command(), stderr=asyncio.subprocess.DEVNULL
    )
    for _ in range(3000):
        if await server.healthy():
            break
        await asyncio.sleep(0.02)
    yield server
    process.terminate()
    await process.wait()


async def test_a_client_with_the_token_uses_jetstream(server: Nats) -> None:
    client = await nats.connect(server.url_with_token)
    assert client.max_payload == MAX_PAYLOAD_BYTES
    await client.jetstream().add_stream(name="S", subjects=["s.>"])
    assert (await client.jetstream().publish("s.a", b"x")).seq == 1
    await client.close()


async def test_without_the_token_nobody_is_let_in(server: Nats) -> None:
    with pytest.raises(NatsError, match="Authorization Violation"):
        await nats.connect(server.url, allow_reconnect=False, error_cb=_quiet)


async def _quiet(_: Exception) -> None:
    """The exception itself is what the test looks at."""


async def test_its_configuration_is_private(server: Nats) -> None:
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert (server.folder / "nats.conf").stat().st_mode & 0o777 == 0o600


async def test_a_port_where_nobody_listens_does_not_greet() -> None:
    assert not await nats_greets(f"nats://127.0.0.1:{free_port()}")
