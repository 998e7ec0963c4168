"""How far the rows are behind the events: read every few seconds, shown in metrics, and an alarm
before the stream drops what neither driver has written yet.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import nats.errors
from nats.aio.client import Client

from appliance.domain.errors import ApplianceError
from appliance.domain.events.durables import PIPELINE
from appliance.infra.nats.lag import Lag, read_lag
from appliance.infra.nats.streams import HOUR_S, STREAMS

READ_EVERY_S = 5.0
SAY_EVERY_S = HOUR_S
KEPT_S = next(spec.max_age_s for spec in STREAMS if spec.name == PIPELINE)
log = logging.getLogger("appliance.consumer")


class LagGauges(Protocol):
    """Shows the lag."""

    def lag(self, lags: Sequence[Lag], alarms: Mapping[str, str]) -> None:
        """`alarms` has the sentence of each durable that is too far behind."""


class LagAlarm:
    """Remembers which durables are too far behind, and says so when that begins, each hour, and
    when it is over.  Pure but for the log: the time comes in."""

    def __init__(self, alarm_s: float, kept_s: float = KEPT_S) -> None:
        self.raised: dict[str, str] = {}  # durable -> the sentence for /ready
        self._alarm_s = alarm_s
        self._kept_s = kept_s
        self._said_at: dict[str, float] = {}

    def judge(self, lags: Sequence[Lag], now: float) -> None:
        """`now` in seconds of any clock that runs on."""
        for lag in lags:
            if lag.oldest_age_s > self._alarm_s:
                self._raise(lag, now)
            elif self.raised.pop(lag.durable, None) is not None:
                del self._said_at[lag.durable]
                log.info("consumer_lag_over", extra=_numbers(lag))

    def _raise(self, lag: Lag, now: float) -> None:
        left_h = max(0.0, self._kept_s - lag.oldest_age_s) / HOUR_S
        self.raised[lag.durable] = (
            f"{lag.durable}: its oldest event waits for {lag.oldest_age_s / HOUR_S:.1f} h, "
            f"{lag.pending + lag.unacked} in all; the stream drops it in {left_h:.1f} h"
        )
        said_at = self._said_at.get(lag.durable)
        if said_at is None or now - said_at >= SAY_EVERY_S:
            self._said_at[lag.durable] = now
            fields = {**_numbers(lag), "hours_left": round(left_h, 1)}
            log.error("consumer_lag_alarm", extra=fields)


class LagWatch:
    """Reads the lag with `wall` (Unix seconds), judges it with `monotonic`."""

    def __init__(
        self,
        alarm: LagAlarm,
        gauges: LagGauges,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        every_s: float = READ_EVERY_S,
    ) -> None:
        self.alarm = alarm
        self._gauges = gauges
        self._wall = wall
        self._monotonic = monotonic
        self._every_s = every_s
        self._said = ""

    async def run(self, client: Client) -> None:
        """Until cancelled; what cannot be read now is read later."""
        while True:
            try:
                await self.look(client)
                self._said = ""
            except (nats.errors.Error, OSError, ApplianceError) as exc:
                self._say(str(exc) or type(exc).__name__)
            except Exception:
                log.exception("lag_watch_failed")
            await asyncio.sleep(self._every_s)

    async def look(self, client: Client) -> None:
        """Once.  Raises nats errors."""
        lags = await read_lag(client, self._wall)
        self.alarm.judge(lags, self._monotonic())
        self._gauges.lag(lags, self.alarm.raised)

    def _say(self, error: str) -> None:
        if error != self._said:
            log.warning("lag_unread", extra={"error": error})
        self._said = error


def _numbers(lag: Lag) -> dict[str, object]:
    return {
        "durable": lag.durable,
        "subject": lag.subject,
        "pending": lag.pending,
        "unacked": lag.unacked,
        "oldest_age_h": round(lag.oldest_age_s / HOUR_S, 1),
    }
