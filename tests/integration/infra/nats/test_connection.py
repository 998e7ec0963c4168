import asyncio
import logging
import signal
import traceback
from dataclasses import dataclass, field

import nats.errors
import pytest

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.infra.nats.connection import connect
from appliance.infra.nats.reader.range import visit
from tests.fixtures_nats import NatsServer


@dataclass
class Hook:
    """Counts; raises `error` when it has one."""

    error: Exception | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.called.set()
        if self.error is not None:
            raise self.error


async def _restart(server: NatsServer, hook: Hook) -> None:
    hook.called.clear()
    server.kill()
    server.start()
    await asyncio.wait_for(hook.called.wait(), 60)


async def test_it_waits_for_a_server_that_is_not_there_yet(nats_server: NatsServer) -> None:
    nats_server.kill()
    connected = asyncio.Event()

    async def open_it() -> None:
        async with connect(nats_server.config, name="test"):
            connected.set()

    opening = asyncio.create_task(open_it())
    done, _ = await asyncio.wait({opening}, timeout=0.3)
    assert not done
    nats_server.start()
    await asyncio.wait_for(connected.wait(), 60)
    await opening


async def test_it_can_be_given_up_while_it_waits() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), connect(NatsConfig(url="nats://127.0.0.1:1"), name="test"):
            raise AssertionError("nobody is there")


async def test_a_secret_in_the_url_may_be_escaped(nats_server: NatsServer) -> None:
    escaped = "".join(f"%{ord(c):02x}" for c in nats_server.config.token)
    config = NatsConfig(url=nats_server.config.url.replace("//", f"//{escaped}@"))
    async with asyncio.timeout(60), connect(config, name="test") as client, visit(config):
        assert client.is_connected


async def test_what_is_no_url_is_refused_without_half_of_its_password() -> None:
    config = NatsConfig(url="nats://me:secret/word@h")
    with pytest.raises(ConfigError) as refused:
        async with connect(config, name="test"):
            raise AssertionError("there is no such url")
    assert "secret" not in "".join(traceback.format_exception(refused.value))


async def test_a_hook_that_fails_does_not_undo_the_connection(nats_server: NatsServer) -> None:
    """The client would connect again beside its own reader, and then never more."""
    hook = Hook(nats.errors.Error("refused"))
    async with connect(nats_server.config, name="test", reconnected=hook) as client:
        for _ in range(2):
            await _restart(nats_server, hook)
            await client.flush(timeout=5)
            assert client.is_connected


async def test_it_takes_any_of_several_servers(nats_server: NatsServer) -> None:
    urls = f"nats://127.0.0.1:1, {nats_server.config.url}"
    config = NatsConfig(url=urls, token=nats_server.config.token)
    async with connect(config, name="test") as client:
        await client.flush()


async def test_a_frozen_server_does_not_hold_up_the_end(nats_server: NatsServer) -> None:
    try:
        async with asyncio.timeout(60), connect(nats_server.config, name="test") as client:
            nats_server.signal(signal.SIGSTOP)
            await client.publish("x", b"x" * 500_000)
    finally:
        nats_server.signal(signal.SIGCONT)


async def test_leaving_is_not_logged_as_a_disconnection(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connect(nats_server.config, name="test"):
        pass
    assert [r.message for r in caplog.records if r.name == "appliance.nats"] == ["nats_connected"]


async def test_what_the_server_ends_is_closed_and_logged(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(nats_server.config, name="test") as client:
        client._max_payload = 10**9  # as after a server was restarted with a smaller limit
        await client.publish("x", b"x" * 2 * 1024 * 1024)
        async with asyncio.timeout(60):
            while not (client.is_closed and "nats_closed" in caplog.messages):
                await asyncio.sleep(0.01)
