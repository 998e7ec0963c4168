from prometheus_client.parser import text_string_to_metric_families

from appliance.domain.events.delivery import Written
from appliance.infra.nats.consumer.tally import Settled
from appliance.infra.nats.lag import Lag
from appliance.infra.telemetry.consumer_metrics import ConsumerMetrics

PREFIX = "appliance_consumer_"


def samples(metrics: ConsumerMetrics) -> dict[tuple[str, ...], float]:
    """(name without prefix, label values in the order of their names) -> value."""
    text = metrics.render().decode()
    return {
        (s.name.removeprefix(PREFIX), *(v for _, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_every_durable_counts_from_nought() -> None:
    found = samples(ConsumerMetrics(["chat_persist", "tool_call"]))
    for durable in ("chat_persist", "tool_call"):
        for outcome in ("written", "forgotten", "retried", "buried"):
            assert found["events_total", durable, outcome] == 0
        assert found["batches_total", durable] == 0
        assert found["batch_duration_seconds_count", durable] == 0


def test_a_batch_counts_its_events_and_its_rows() -> None:
    metrics = ConsumerMetrics(["chat_persist"], wall=lambda: 1_795_000_000.0)
    written = Written({"chat_history": 30, "chat_pairs": 8}, {"chat_history": 27}, forgotten=1)
    batch = Settled(written, events=10, retried=2, buried=1, duration_s=0.02)
    metrics.settled("chat_persist", batch)
    metrics.settled("chat_persist", batch)
    found = samples(metrics)
    assert found["events_total", "chat_persist", "written"] == 18
    assert found["events_total", "chat_persist", "forgotten"] == 2
    assert found["events_total", "chat_persist", "retried"] == 4
    assert found["events_total", "chat_persist", "buried"] == 2
    assert found["batches_total", "chat_persist"] == 2
    assert found["rows_total", "inserted", "chat_history"] == 54
    assert found["rows_total", "present", "chat_history"] == 6
    assert found["rows_total", "inserted", "chat_pairs"] == 0
    assert found["rows_total", "present", "chat_pairs"] == 16
    assert found["batch_duration_seconds_sum", "chat_persist"] == 0.04
    assert found["last_commit_timestamp_seconds", "chat_persist"] == 1_795_000_000.0


def test_a_batch_of_rejects_alone_is_no_commit() -> None:
    metrics = ConsumerMetrics(["chat_persist"], wall=lambda: 7.0)
    metrics.settled("chat_persist", Settled(Written(), 0, retried=1, buried=0, duration_s=0.1))
    assert ("last_commit_timestamp_seconds", "chat_persist") not in samples(metrics)


def test_the_lag_is_what_was_read_last_with_its_alarm_and_its_time() -> None:
    metrics = ConsumerMetrics(["chat_persist", "tool_call"], wall=lambda: 7.0)
    lags = [
        Lag("chat_persist", "PIPELINE", "s", 40, 2, 180_000.0),
        Lag("tool_call", "PIPELINE", "s", 0, 0, 0.0),
    ]
    metrics.lag(lags, {"chat_persist": "too old"})
    found = samples(metrics)
    assert found["pending", "chat_persist"] == 40
    assert found["unacked", "chat_persist"] == 2
    assert found["lag_seconds", "chat_persist"] == 180_000.0
    assert (found["lag_alarm", "chat_persist"], found["lag_alarm", "tool_call"]) == (1, 0)
    assert found["lag_read_timestamp_seconds",] == 7.0
    metrics.lag(lags, {})
    assert samples(metrics)["lag_alarm", "chat_persist"] == 0


def test_deleted_rows_are_counted_by_table() -> None:
    metrics = ConsumerMetrics([])
    metrics.pruned({"chat_history": 3, "tool_calls": 0})
    metrics.pruned({"chat_history": 4})
    assert samples(metrics)["pruned_rows_total", "chat_history"] == 7
