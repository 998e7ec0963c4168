import logging
from dataclasses import replace

import pytest

from appliance.infra.nats.consumer.lag_watch import KEPT_S, LagAlarm
from appliance.infra.nats.lag import Lag

HOUR = 3600.0
LAG = Lag("chat_persist", "PIPELINE", "pipeline.knowledge.chat.persist", 40, 2, 0.0)


def old(hours: float) -> list[Lag]:
    return [replace(LAG, oldest_age_s=hours * HOUR)]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_pipeline_keeps_72_hours() -> None:
    assert KEPT_S == 72 * HOUR


def test_it_is_said_at_the_crossing_then_hourly_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    alarm = LagAlarm(48 * HOUR)
    alarm.judge(old(48.0), now=0)
    assert said(caplog) == []
    alarm.judge(old(48.1), now=5)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    fields = {k: getattr(record, k) for k in ("durable", "pending", "unacked", "hours_left")}
    assert fields == {"durable": "chat_persist", "pending": 40, "unacked": 2, "hours_left": 23.9}
    assert said(caplog) == ["consumer_lag_alarm"]
    for seconds in range(10, 3600, 5):
        alarm.judge(old(48.5), now=seconds)
    assert said(caplog) == []
    alarm.judge(old(49.1), now=3605)
    assert said(caplog) == ["consumer_lag_alarm"]
    alarm.judge(old(3.0), now=3610)
    assert said(caplog) == ["consumer_lag_over"]
    assert alarm.raised == {}
    alarm.judge(old(50.0), now=3615)
    assert said(caplog) == ["consumer_lag_alarm"]


def test_each_durable_has_an_alarm_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    alarm = LagAlarm(48 * HOUR)
    other = replace(LAG, durable="tool_call", oldest_age_s=60 * HOUR)
    alarm.judge([*old(1), other], now=0)
    assert list(alarm.raised) == ["tool_call"]
    alarm.judge([*old(71), other], now=1)
    assert sorted(alarm.raised) == ["chat_persist", "tool_call"]
    assert said(caplog) == ["consumer_lag_alarm", "consumer_lag_alarm"]


def test_the_sentence_has_the_hours_that_are_left_and_never_fewer_than_none() -> None:
    alarm = LagAlarm(48 * HOUR)
    alarm.judge(old(50), now=0)
    assert alarm.raised["chat_persist"] == (
        "chat_persist: its oldest event waits for 50.0 h, 42 in all; the stream drops it in 22.0 h"
    )
    alarm.judge(old(100), now=1)
    assert alarm.raised["chat_persist"].endswith("in 0.0 h")
