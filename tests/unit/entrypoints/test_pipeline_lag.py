import asyncio

import pytest

from appliance.config.schema import NatsConfig
from appliance.entrypoints.lifespan import beside
from appliance.entrypoints.pipeline_lag import PipelineLag
from appliance.infra.nats.consumer.lag_watch import LagAlarm


async def test_a_look_that_fails_unforeseen_is_told_and_is_not_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lag = PipelineLag(NatsConfig(url="nats://[bad"), LagAlarm(1.0), every_s=0.001)
    async with beside(lag.run()), asyncio.timeout(60):
        while len([r for r in caplog.records if r.message == "pipeline_lag_failed"]) < 2:
            await asyncio.sleep(0.001)
