"""The consumer role as a process of the test's own, and what goes in and comes out of it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.js.errors
import psycopg

from appliance.domain.events.durables import DURABLES
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of
from appliance.infra.nats.streams import ensure_streams
from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import NatsServer

SUBJECT = "pipeline.knowledge.chat.persist"
DURABLE = "chat_persist"


class Consumer:
    """`appliance run --role consumer` on a configuration of its own; `extra` are lines of its
    [consumer] table, `tables` whole tables."""

    def __init__(
        self, folder: Path, server: NatsServer, dsn: str, extra: str = "", tables: str = ""
    ) -> None:
        self.log = folder / "consumer.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._config = folder / "consumer.toml"
        (folder / "dsn").write_text(dsn)
        listen = self.url.removeprefix("http://")
        self._config.write_text(
            f'[nats]\nurl = "{server.config.url}"\ntoken = "env:CONSUMER_TEST_TOKEN"\n'
            f'[postgres]\ndsn = "file:dsn"\n[consumer]\nlisten = "{listen}"\n{extra}\n{tables}\n'
        )
        self._env = {**os.environ, "CONSUMER_TEST_TOKEN": server.config.token}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "appliance", "run", "--role", "consumer"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(self._config)], stdout=log, stderr=log, env=self._env
            )

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = 15) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def rss_bytes(self) -> int:
        """Its resident memory at its highest."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


@contextmanager
def consuming(consumer: Consumer) -> Iterator[Consumer]:
    """It runs for the time of the block."""
    consumer.start()
    try:
        yield consumer
    finally:
        if consumer.process is not None and consumer.process.poll() is None:
            consumer.send(signal.SIGCONT)
            consumer.stop(signal.SIGKILL)


@asynccontextmanager
async def jetstream(server: NatsServer) -> AsyncIterator[Any]:
    """JetStream with the streams there."""
    client = await nats.connect(server.config.url, token=server.config.token)
    try:
        js = client.jetstream()
        await ensure_streams(js, 1)
        yield js
    finally:
        await client.close()


async def publish(js: Any, exchanges: Sequence[Exchange], *, msg_id: bool = True) -> None:
    """The persist event of each."""
    for kept in exchanges:
        event = next(events_of(kept))
        headers = {"Nats-Msg-Id": event.event_id} if msg_id else None
        await js.publish(SUBJECT, msgspec.json.encode(event.body), headers=headers, timeout=10)


async def publish_many(js: Any, exchanges: Iterable[Exchange], *, together: int = 250) -> None:
    """As `publish`, `together` at a time: for a backlog."""
    made = iter(exchanges)
    while some := list(islice(made, together)):
        await asyncio.gather(*(publish(js, [kept]) for kept in some))


async def publish_all(js: Any, exchanges: Iterable[Exchange]) -> None:
    """Every pipeline event of each."""
    for kept in exchanges:
        for event in events_of(kept):
            if event.subject.startswith("pipeline."):
                headers = {"Nats-Msg-Id": event.event_id}
                data = msgspec.json.encode(event.body)
                await js.publish(event.subject, data, headers=headers, timeout=10)


def rows(dsn: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), values).fetchall()


async def until(claim: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait for `claim`; AssertionError when it does not come to pass."""
    for _ in range(int(timeout_s / 0.05)):
        if await asyncio.to_thread(claim):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to pass")


async def until_acked(js: Any, durable: str = DURABLE, timeout_s: float = WAIT_S) -> None:
    """Nothing that was published before is left for `durable`."""
    (subject,) = (d.subject for d in DURABLES.values() if d.name == durable)
    last = 0
    with suppress(nats.js.errors.NotFoundError):
        last = (await js.get_last_msg("PIPELINE", subject)).seq
    for _ in range(int(timeout_s / 0.05)):
        with suppress(nats.js.errors.NotFoundError):
            info = await js.consumer_info("PIPELINE", durable)
            # What is pending is counted a moment after a publisher got its ack.
            if info.ack_floor.stream_seq >= last and not info.num_pending:
                return
        await asyncio.sleep(0.05)
    raise AssertionError("messages were left")
