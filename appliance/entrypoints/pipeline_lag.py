"""How far the rows are behind the events, as a gateway sees it: the alarm must not depend on a
consumer or on Dagster being alive.  Reads only."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from appliance.config.schema import NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.infra.nats.connection import connect
from appliance.infra.nats.consumer.lag_watch import LagAlarm, LagWatch
from appliance.infra.nats.lag import Lag

LOOK_EVERY_S = 60.0
LOOK_TIMEOUT_S = 15.0
log = logging.getLogger("appliance.gateway")


class PipelineLag:
    """`run` looks once a minute over a connection of its own; `seconds` is by durable."""

    def __init__(
        self, config: NatsConfig, alarm: LagAlarm, *, every_s: float = LOOK_EVERY_S
    ) -> None:
        self.seconds: Mapping[str, float] = {}
        self._config = config
        self._alarm = alarm
        self._every_s = every_s
        self._watch = LagWatch(alarm, self, wall=time.time, monotonic=time.monotonic)

    def lag(self, lags: Sequence[Lag], alarms: Mapping[str, str]) -> None:
        """See LagGauges.lag."""
        self.seconds = {lag.durable: lag.oldest_age_s for lag in lags}

    async def run(self) -> None:
        """Until cancelled.  While NATS is away nothing is known: the last numbers stay."""
        while True:
            try:
                await self._look()
            except (PartUnavailable, OSError):  # TimeoutError included
                pass
            except Exception:  # an address that is none, say
                log.exception("pipeline_lag_failed")
            await asyncio.sleep(self._every_s)

    async def _look(self) -> None:
        async with (
            asyncio.timeout(LOOK_TIMEOUT_S),
            connect(self._config, name="gateway-lag") as client,
        ):
            await self._watch.look(client)

    async def check(self) -> None:
        """For `/ready`: raises PartUnavailable while both drivers are too far behind."""
        if self._alarm.raised:
            raise PartUnavailable("; ".join(self._alarm.raised.values()), part="consumer")
