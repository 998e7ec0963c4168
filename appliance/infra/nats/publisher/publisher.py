"""The connection a shipper publishes over: one link at a time, to whichever server answers.

nats-py stays for administration; it costs ten times as much for a message and its ack.
"""

import asyncio
import secrets
import ssl

from appliance.config.schema import NatsConfig
from appliance.infra.nats.publisher.link import Link, LinkError, Listener, open_link
from appliance.infra.nats.publisher.servers import Servers


class Publisher:
    """`inbox` is the prefix of subjects that answers come back on, whichever link asked."""

    def __init__(self, config: NatsConfig, name: str, listener: Listener) -> None:
        """`config.url` must not be empty."""
        self.inbox = f"_INBOX.{secrets.token_hex(8)}."
        self._config = config
        self._name = name
        self._listener = listener
        self._servers: Servers | None = None
        self._tls: ssl.SSLContext | None = None

    async def connect(self) -> Link:
        """A new link, to the first server that answers; each is tried once.

        Raises LinkError with the reason of the last, ConfigError when a url is not one.
        """
        if self._servers is None:
            self._servers = Servers(self._config)
        servers, failure = self._servers, ""
        for _ in range(len(servers)):
            server = servers.first
            try:
                link = await open_link(
                    server, self._name, self.inbox, self._listener, self._context
                )
            except TimeoutError:
                failure = f"{server.host}:{server.port} does not answer"
            except (LinkError, OSError) as exc:
                failure = f"{server.host}:{server.port}: {exc}"
            else:
                servers.learn(link.info.connect_urls or (), server)
                return link
            servers.failed()
        raise LinkError(failure)

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Reads the system's certificates: milliseconds of disk and parsing, off the loop.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls
