"""One connection to NATS that outlives outages, restarts and a frozen server.

Opening it waits until the server is there, so open it in a task, never on the way to being ready.
What ends it is an error the server itself closes it with (too large a message, a revoked key): then
`is_closed` is true, and whoever holds it opens another.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client

from appliance.config.schema import NatsConfig
from appliance.infra.nats.publisher.servers import Servers

CLOSE_TIMEOUT_S = 2.0
PING_INTERVAL_S = 2
PENDING_BYTES = 64 * 1024 * 1024
log = logging.getLogger("appliance.nats")
Hook = Callable[[], Awaitable[None]]


@asynccontextmanager
async def connect(
    config: NatsConfig, *, name: str, reconnected: Hook | None = None
) -> AsyncIterator[Client]:
    """A connected client of one of the servers of `[nats] url`; `reconnected` runs each time a
    server is back.  May wait for ever; closing is bounded even when the server does not answer.

    Raises ConfigError when a url is not one, and nothing else.
    """
    login = login_of(config)
    client = Client()
    said = _Said(name, client)
    try:
        await client.connect(
            servers=[url.strip() for url in config.url.split(",")],
            **login,
            name=name,
            error_cb=said.error,
            disconnected_cb=said.disconnected,
            reconnected_cb=said.hooked(reconnected),
            closed_cb=said.closed,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds; the client says int, takes both
            connect_timeout=2,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=2,
            # The window of whoever publishes is far below this: the limit is never what stops them.
            pending_size=PENDING_BYTES,
            skip_subject_validation=True,  # they are constants of ours and its own inboxes
            inbox_prefix=b"_INBOX",
        )
        log.info("nats_connected", extra={"connection": name})
        yield client
    finally:
        said.leaving = True
        with suppress(Exception):
            await asyncio.wait_for(client.close(), CLOSE_TIMEOUT_S)


def login_of(config: NatsConfig) -> dict[str, Any]:
    """What nats-py is to log in with: it takes no password out of a url that is escaped there, and
    its error shows half of one that should have been.  Raises ConfigError when a url is not one."""
    login = Servers(config).first.login
    names = {"token": "auth_token", "user": "user", "password": "pass"}
    return {option: login[name] for option, name in names.items() if name in login}


class _Said:
    """Logs each change once; the client itself reports every attempt.  `leaving`: what ends now is
    meant to."""

    def __init__(self, name: str, client: Client) -> None:
        self.leaving = False
        self._name = name
        self._client = client
        self._last = ""

    async def error(self, exc: Exception) -> None:
        text = str(exc) or type(exc).__name__
        if text != self._last:
            log.warning("nats_error", extra={"connection": self._name, "error": text})
        self._last = text

    async def disconnected(self) -> None:
        if not self.leaving:
            log.warning("nats_disconnected", extra={"connection": self._name})

    async def closed(self) -> None:
        if not self.leaving:
            error = str(self._client.last_error or "closed by the server")
            log.error("nats_closed", extra={"connection": self._name, "error": error})

    def hooked(self, hook: Hook | None) -> Hook:
        async def reconnected() -> None:
            self._last = ""
            log.info("nats_reconnected", extra={"connection": self._name})
            if hook is None:
                return
            try:
                await hook()
            except Exception:
                # The client would take it for a failed connection, and never come back (nats-py
                # 2.16 then reads the new one beside the reader of the old).
                log.exception("nats_reconnected_hook_failed", extra={"connection": self._name})

        return reconnected
