"""The whole path of an event as processes of a test's own: gateways, NATS, consumers, PostgreSQL.

    with Pipeline(folder, backend.base_url, nats, dsn) as pipeline:
        trace_id = pipeline.ask(question("Hello"))
        pipeline.wait_row(trace_id)

The consumer runs beside the first gateway; either can be stopped and started by the test.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import psycopg
from psycopg.rows import dict_row

from appliance.infra.nats.reader.range import StreamReader, visit
from tests.e2e.asking import CHAT
from tests.fakes.consumer import Consumer, consuming
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.until import WAIT_S, until
from tests.fixtures_nats import NatsServer


class Pipeline:
    """`tables` are further ones of the gateways' configuration, `spool` lines of its last one;
    `letters_after` is the consumer's `max_deliver`."""

    def __init__(
        self,
        folder: Path,
        backend: str,
        nats: NatsServer,
        dsn: str,
        *,
        tables: str = "",
        spool: str = "",
        gateways: int = 1,
        consumers: int = 1,
        letters_after: int = 2,
    ) -> None:
        self.dsn = dsn
        self.folder = folder
        self._nats = nats
        folder.mkdir(exist_ok=True)
        (folder / "dsn").write_text(dsn)
        (folder / "token").write_text(nats.config.token)
        config = backend_config(backend)
        config += f'[nats]\nurl = "{nats.config.url}"\ntoken = "file:{folder / "token"}"\n'
        config += f'[postgres]\ndsn = "file:{folder / "dsn"}"\n{tables}'
        self.gateways = []
        for number in range(gateways):
            (own := folder / f"gateway{number}").mkdir()
            gateway = GatewayProcess(own, config)
            gateway.config.write_text(gateway.config.read_text() + spool)
            self.gateways.append(gateway)
        self.gateway = self.gateways[0]
        self.consumers = []
        extra = f"ack_wait_s = 3.0\nmax_deliver = {letters_after}\n"
        for number in range(consumers):
            (own := folder / f"consumer{number}").mkdir()
            self.consumers.append(Consumer(own, nats, dsn, extra))
        self.consumer = self.consumers[0] if consumers else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for gateway in self.gateways:
                stack.enter_context(gateway)
            for consumer in self.consumers:
                stack.enter_context(consuming(consumer))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def post(self, body: Any, path: str = CHAT, *, gateway: int = 0) -> httpx.Response:
        return httpx.post(self.gateways[gateway].url + path, json=body, timeout=60)

    def ask(self, body: Any, path: str = CHAT, *, gateway: int = 0) -> str:
        """The trace id of an answer with 200."""
        response = self.post(body, path, gateway=gateway)
        assert response.status_code == 200, response.text
        trace_id: str = response.headers["x-request-id"]
        return trace_id

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement.encode())

    def count(self, table: str, where: str = "true", *values: object) -> int:
        (row,) = self.rows(f"SELECT count(*) AS n FROM {table} WHERE {where}", *values)
        return int(row["n"])

    def of(self, table: str, trace_id: str) -> list[dict[str, Any]]:
        """Its rows, in their order."""
        order = {"chat_history": "seq", "flow_lineage": "node_index", "tool_calls": "call_index"}
        by = order.get(table, "trace_id")
        return self.rows(f"SELECT * FROM {table} WHERE trace_id = %s ORDER BY {by}", trace_id)

    def wait_row(self, trace_id: str, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The row of its answer, once its chat and its lineage are written."""

        def written() -> bool:
            return bool(self.of("flow_lineage", trace_id)) and bool(self.answers(trace_id))

        self.until(written, lambda: f"{trace_id} has no row: {self.letters()}", timeout_s)
        return self.answers(trace_id)[0]

    def answers(self, trace_id: str) -> list[dict[str, Any]]:
        return [row for row in self.of("chat_history", trace_id) if row["detail"] is not None]

    def letters(self) -> list[tuple[str, str]]:
        """Event ids and reasons of the dead letters."""
        found = self.rows("SELECT event_id, reason FROM dead_letters ORDER BY id")
        return [(row["event_id"], row["reason"]) for row in found]

    async def messages(self, stream: str = "PIPELINE") -> list[dict[str, Any]]:
        """What is in `stream`, oldest first, decoded."""
        async with visit(self._nats.config) as client, StreamReader(client, stream) as reader:
            batches = [batch async for batch in reader.batches()]
        return [msgspec.json.decode(m.data) for batch in batches for m in batch.messages]

    def ready(self, url: str = "") -> dict[str, str]:
        """What is not well, by part, as `/ready` has it; `url`: of another than the gateway."""
        try:
            answer = httpx.get(f"{url or self.gateway.url}/ready", timeout=10)
        except httpx.TransportError:
            return {"itself": "does not answer"}
        return {part: said for part, said in answer.json()["parts"].items() if said != "ok"}

    def command(
        self, *words: str, timeout_s: float = 2 * WAIT_S
    ) -> "subprocess.CompletedProcess[str]":
        """`appliance WORDS` with the first gateway's configuration, finished."""
        return self.start_command(*words).wait(timeout_s)

    def start_command(self, *words: str) -> "Command":
        return Command([words[0], "--config", str(self.gateway.config), *words[1:]], self.folder)

    def until(
        self,
        claim: Callable[[], bool],
        otherwise: Callable[[], object] = lambda: "it did not come to pass",
        timeout_s: float = WAIT_S,
    ) -> None:
        """See until."""
        until(claim, otherwise, timeout_s)


class Command:
    """One of the appliance's commands, under way."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self._words = words
        self._process = subprocess.Popen(
            [sys.executable, "-m", "appliance", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(folder / "xdg")},
        )

    def wait(self, timeout_s: float = 2 * WAIT_S) -> "subprocess.CompletedProcess[str]":
        """What came of it."""
        out, err = self._process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(self._words, self._process.returncode, out, err)
