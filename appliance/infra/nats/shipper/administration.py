"""What a shipper needs nats-py for: the streams, and the object store.  A connection of its own,
opened when there is something to do and closed after."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import nats.errors
from nats.js import JetStreamContext

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.domain.events.durables import PIPELINE
from appliance.infra.nats.connection import connect
from appliance.infra.nats.objects import Payloads
from appliance.infra.nats.stream_rules import changes
from appliance.infra.nats.streams import STREAMS, ensure_streams, request

TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 5.0
_PIPELINE = next(spec for spec in STREAMS if spec.name == PIPELINE)
FAILURES = (nats.errors.Error, OSError, TimeoutError, ConfigError)


class PayloadStore(Protocol):
    """Where a payload goes that is larger than a message."""

    async def put(self, body: Mapping[str, Any], data: bytes) -> bytes:
        """Keep `data` under the event id of `body`; the message that names it.  Raises FAILURES."""


class Administration:
    """`name` is the connection's, for whoever looks at the server."""

    def __init__(self, config: NatsConfig, name: str) -> None:
        self._config = config
        self._name = name

    async def prepare(self) -> str:
        """PIPELINE is there and as it must be.  What is wrong with the other streams, or "": events
        do not wait for these.  Raises FAILURES."""
        async with asyncio.timeout(TIMEOUT_S), connect(self._config, name=self._name) as client:
            js = client.jetstream(timeout=ANSWER_TIMEOUT_S)
            try:
                await ensure_streams(js, self._config.replicas)
            except (nats.errors.Error, ConfigError) as exc:
                if not await _is_usable(js, self._config.replicas):
                    raise
                return str(exc) or type(exc).__name__
        return ""

    @asynccontextmanager
    async def payloads(self) -> AsyncIterator[PayloadStore]:
        """The object store, as long as the context lasts.  Raises FAILURES."""
        async with connect(self._config, name=self._name) as client:
            yield Payloads(client.jetstream(timeout=ANSWER_TIMEOUT_S), self._config.replicas)


async def _is_usable(js: JetStreamContext, replicas: int) -> bool:
    """PIPELINE is as it must be, whatever the others are."""
    try:
        found = (await request(js, f"STREAM.INFO.{PIPELINE}", {}))["config"]
        return not changes(found, _PIPELINE, replicas)
    except (nats.errors.Error, ConfigError):
        return False
