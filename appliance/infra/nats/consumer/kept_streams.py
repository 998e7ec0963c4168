"""`ensure_streams` for workers that ask at the same moment, and what it refused."""

import asyncio
import logging

from nats.js import JetStreamContext

from appliance.domain.errors import ConfigError
from appliance.infra.nats.streams import ensure_streams

_FRESH_S = 1.0
log = logging.getLogger("appliance.consumer")


class KeptStreams:
    """The streams of DESIGN.md 6, as far as they can be had.

    `problem` is the sentence of a stream that cannot be used, "" when all can.  It stops no worker:
    one reads what it can, and whoever is asked whether all is well says what is not.
    """

    def __init__(self, replicas: int) -> None:
        self.problem = ""
        self._replicas = replicas
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")

    async def ensure(self, js: JetStreamContext) -> None:
        """Make and adjust what is not as it should be; six workers that ask together cost one
        look.  Raises nats errors when the server cannot answer."""
        async with self._looking:
            loop = asyncio.get_running_loop()
            if loop.time() - self._looked_at < _FRESH_S:
                return
            try:
                await ensure_streams(js, self._replicas)
            except ConfigError as exc:
                self._say(str(exc))
            else:
                self._say("")
            self._looked_at = loop.time()

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error("stream_refused", extra={"error": problem})
        self.problem = problem
