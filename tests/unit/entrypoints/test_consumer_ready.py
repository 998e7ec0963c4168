"""What `/ready` of the consumer names.  Nothing is connected: the crew does not run."""

import time

from appliance.config.schema import ConsumerConfig, NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.durables import DURABLES
from appliance.entrypoints.consumer_ready import ConsumerReadiness
from appliance.infra.nats.consumer.crew import Crew
from appliance.infra.nats.consumer.lag_watch import LagAlarm, LagWatch
from appliance.infra.nats.consumer.worker import Worker
from appliance.infra.nats.lag import Lag
from appliance.infra.telemetry.consumer_metrics import ConsumerMetrics
from tests.fakes.batch_writer import FakeWriter

HOUR = 3600.0


def crew() -> Crew:
    metrics = ConsumerMetrics([])
    workers = [
        Worker(durable, FakeWriter(), ConsumerConfig(), metrics, time.monotonic)
        for durable in DURABLES.values()
    ]
    watch = LagWatch(LagAlarm(48 * HOUR), metrics, wall=time.time, monotonic=time.monotonic)
    return Crew(NatsConfig(url="nats://127.0.0.1:1"), workers, watch)


async def well() -> None:
    pass


async def away() -> None:
    raise PartUnavailable("PostgreSQL: connection refused", part="postgres")


async def test_before_it_is_connected_it_is_not_ready_and_names_why() -> None:
    ready, body = await ConsumerReadiness(crew(), away).report()
    assert not ready
    assert body["status"] == "unavailable"
    assert body["parts"]["nats"] == "not connected: events wait in the streams"
    assert body["parts"]["postgres"] == "PostgreSQL: connection refused"
    assert body["parts"]["durables"].startswith("chat_persist: not started; embedding: ")
    assert (body["parts"]["streams"], body["parts"]["lag"]) == ("ok", "ok")


async def test_an_alarm_and_a_refused_stream_are_named() -> None:
    made = crew()
    made.streams.problem = "the stream EVT exists with storage memory"
    late = Lag("retrieve", "PIPELINE", "pipeline.knowledge.retrieve", 7, 1, 60 * HOUR)
    made.watch.alarm.judge([late], now=0)
    _, body = await ConsumerReadiness(made, well).report()
    assert body["parts"]["postgres"] == "ok"
    assert body["parts"]["streams"] == "the stream EVT exists with storage memory"
    assert body["parts"]["lag"] == (
        "retrieve: its oldest event waits for 60.0 h, 8 in all; the stream drops it in 12.0 h"
    )
