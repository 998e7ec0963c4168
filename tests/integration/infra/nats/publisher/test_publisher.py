"""The lean connection against the real server: logins, TLS, other addresses, frozen servers."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest

from appliance.config.schema import NatsConfig
from appliance.infra.nats.publisher.link import Link, LinkError
from appliance.infra.nats.publisher.publisher import Publisher
from appliance.infra.nats.publisher.wire import HEADER_BYTES, publish_head
from tests.fixtures_nats import NatsServer

CERTIFICATE = Path(__file__).parents[4] / "fakes" / "loopback_tls.pem"
USER = 'authorization { users: [ { user: "me", password: "p@ss" } ] }'
TLS = f'tls {{ cert_file: "{CERTIFICATE}", key_file: "{CERTIFICATE}" }}'


@dataclass
class Ear:
    """A Listener that writes down what it is told."""

    answers: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    reads: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def on_answer(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        self.answers.append((subject, headers, payload))

    def on_read(self) -> None:
        self.reads += 1
        self.told.set()

    def on_writable(self) -> None:
        self.told.set()

    def on_error(self, text: str) -> None:
        self.errors.append(text)

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self.told.set()

    async def until(self, many: int) -> None:
        """`many` answers, or the end."""
        while len(self.answers) < many and not self.lost:
            self.told.clear()
            await asyncio.wait_for(self.told.wait(), 60)


def _publisher(url: str, token: str = "") -> tuple[Publisher, Ear]:
    ear = Ear()
    return Publisher(NatsConfig(url=url, token=token), "test", ear), ear


async def _asks(link: Link, publisher: Publisher, ear: Ear, data: bytes = b"x") -> bytes:
    """The headers of the answer to a message nobody listens to."""
    head = publish_head("nobody.listens", f"{publisher.inbox}{len(ear.answers)} ", "id", len(data))
    link.write(head, data)
    link.flush()
    await ear.until(len(ear.answers) + 1)
    assert not ear.lost, ear.lost
    return ear.answers[-1][1]


@pytest.fixture
def dead() -> Iterator[str]:
    """An address where nobody is."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        yield f"nats://127.0.0.1:{taken.getsockname()[1]}"


async def test_a_message_that_no_stream_takes_is_said_so(nats_server: NatsServer) -> None:
    publisher, ear = _publisher(nats_server.config.url, nats_server.config.token)
    link = await publisher.connect()
    assert b"503" in await _asks(link, publisher, ear)
    link.abort()


async def test_the_first_address_may_be_dead(nats_server: NatsServer, dead: str) -> None:
    publisher, ear = _publisher(f"{dead},{nats_server.config.url}", nats_server.config.token)
    for _ in range(2):
        link = await publisher.connect()
        assert b"503" in await _asks(link, publisher, ear)
        link.abort()


async def test_all_addresses_dead_is_said(dead: str) -> None:
    publisher, _ = _publisher(f"{dead},{dead}")
    with pytest.raises(LinkError, match=dead.removeprefix("nats://")):
        await publisher.connect()


async def test_something_that_is_not_nats_is_not_taken_for_it() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(web, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        publisher, _ = _publisher(f"nats://127.0.0.1:{port}")
        with pytest.raises(LinkError, match="not a NATS server"):
            await publisher.connect()


@pytest.mark.parametrize(
    ("login", "accepted"), [("me:p%40ss@", True), ("me:wrong@", False), ("", False)]
)
async def test_a_user_and_its_password_may_stand_in_the_url(
    tmp_path: Path, login: str, accepted: bool
) -> None:
    server = NatsServer(tmp_path, access=USER)
    server.start()
    try:
        publisher, ear = _publisher(f"nats://{login}127.0.0.1:{server.port}")
        if accepted:
            link = await publisher.connect()
            assert b"503" in await _asks(link, publisher, ear)
            link.abort()
        else:
            with pytest.raises(LinkError, match="Authorization Violation"):
                await publisher.connect()
    finally:
        server.kill()


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_that_wants_tls_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    server = NatsServer(tmp_path, access=TLS)
    server.start()
    try:
        publisher, ear = _publisher(f"{scheme}://localhost:{server.port}")
        link = await publisher.connect()
        assert b"503" in await _asks(link, publisher, ear, b"x" * 300_000)
        link.abort()
    finally:
        server.kill()


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, access=TLS)
    server.start()
    try:
        publisher, _ = _publisher(f"tls://localhost:{server.port}")
        with pytest.raises(LinkError, match="certificate"):
            await publisher.connect()
    finally:
        server.kill()


async def test_a_message_of_exactly_max_payload_passes_and_one_above_ends_the_connection(
    tmp_path: Path,
) -> None:
    server = NatsServer(tmp_path, max_payload=4096)
    server.start()
    try:
        publisher, ear = _publisher(server.config.url, server.config.token)
        link = await publisher.connect()
        assert link.info.max_payload == 4096
        exactly = 4096 - HEADER_BYTES - len("id")
        assert b"503" in await _asks(link, publisher, ear, b"x" * exactly)
        head = publish_head("nobody.listens", "", "id", exactly + 1)
        link.write(head, b"x" * (exactly + 1))
        link.flush()
        await ear.until(2)
        assert ear.lost
        assert "Maximum Payload Violation" in ear.errors
        assert not link.alive
    finally:
        server.kill()


async def test_a_frozen_server_is_noticed_and_holds_nobody_up(nats_server: NatsServer) -> None:
    publisher, ear = _publisher(nats_server.config.url, nats_server.config.token)
    link = await publisher.connect()
    nats_server.signal(signal.SIGSTOP)
    data = bytes(64 * 1024)
    head = publish_head("nobody.listens", "", "id", len(data))
    for _ in range(1000):
        if not link.writable:
            break
        link.write(head, data)
        link.flush()
        await asyncio.sleep(0)
    assert not link.writable
    await ear.until(1)
    assert ear.lost == ["the server does not answer"]
    with pytest.raises(LinkError, match="does not answer"):
        await publisher.connect()
    nats_server.signal(signal.SIGCONT)
    again = await publisher.connect()
    assert again.alive
    again.abort()


async def test_a_killed_server_is_noticed_at_once(nats_server: NatsServer) -> None:
    publisher, ear = _publisher(nats_server.config.url, nats_server.config.token)
    link = await publisher.connect()
    nats_server.kill()
    await ear.until(1)
    assert len(ear.lost) == 1
    assert not link.alive
    link.write(b"", b"")
    link.flush()


async def test_a_connection_goes_on_while_the_server_only_listens(nats_server: NatsServer) -> None:
    """Pings of ours are answered, and its own by us."""
    publisher, ear = _publisher(nats_server.config.url, nats_server.config.token)
    link = await publisher.connect()
    before = ear.reads
    while ear.reads < before + 2:
        ear.told.clear()
        await asyncio.wait_for(ear.told.wait(), 60)
    assert link.alive
    link.abort()


async def test_what_is_published_arrives_with_its_id(nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    subscription = await client.subscribe("somebody.listens")
    await client.flush()
    publisher, _ = _publisher(nats_server.config.url, nats_server.config.token)
    link = await publisher.connect()
    for number in range(3):
        data = b"\r\n" * number
        link.write(publish_head("somebody.listens", "", f"id:{number}", len(data)), data)
    link.flush()
    for number in range(3):
        message = await subscription.next_msg(60)
        assert message.data == b"\r\n" * number
        assert message.headers == {"Nats-Msg-Id": f"id:{number}"}
    link.abort()
    await client.close()
