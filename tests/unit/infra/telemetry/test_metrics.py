import re
from collections.abc import Mapping

import pytest

from appliance.infra.telemetry.metrics import OTHER_MODEL, GatewayMetrics
from tests.fakes.exchanges import exchange


@pytest.fixture
def gauges() -> dict[str, Mapping[str, float]]:
    return {"in_flight": {"a": 1, "b": 0}, "spool": {"": 7}}


@pytest.fixture
def metrics(gauges: dict[str, Mapping[str, float]]) -> GatewayMetrics:
    def read() -> list[tuple[str, str, str, Mapping[str, float]]]:
        return [(n, "help", "" if "" in v else "backend", v) for n, v in gauges.items()]

    return GatewayMetrics(read)


def value(metrics: GatewayMetrics, sample: str) -> float | None:
    """The number of one sample, its labels in alphabetical order; None when it is not there."""
    lines = metrics.render().decode().splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == sample]
    assert len(found) < 2
    return float(found[0]) if found else None


LABELS = 'backend="local",gen_ai_operation_name="chat",gen_ai_request_model="qwen3-8b-q4"'


def test_exchanges_are_counted_by_how_they_ended(metrics: GatewayMetrics) -> None:
    for number, status in enumerate(["finished", "finished", "failed", "cancelled"]):
        assert metrics.keep(exchange(number, status=status)) is True
    for status, count in (("finished", 2), ("failed", 1), ("cancelled", 1)):
        sample = f'appliance_exchanges_total{{{LABELS},route="direct",status="{status}"}}'
        assert value(metrics, sample) == count


def test_durations_and_tokens_add_up(metrics: GatewayMetrics) -> None:
    metrics.keep(exchange(1, duration_s=0.5, time_to_first_token_s=0.1, input_tokens=12))
    metrics.keep(exchange(2, duration_s=1.5, time_to_first_token_s=0.3, input_tokens=8))
    direct = f'{LABELS},route="direct"'
    assert value(metrics, f"gen_ai_server_request_duration_seconds_sum{{{direct}}}") == 2.0
    assert value(
        metrics, f"gen_ai_server_time_to_first_token_seconds_sum{{{direct}}}"
    ) == pytest.approx(0.4)
    tokens = f'{LABELS},gen_ai_token_type="%s",route="direct"'
    assert value(metrics, f"gen_ai_client_token_usage_sum{{{tokens % 'input'}}}") == 20
    assert value(metrics, f"gen_ai_client_token_usage_sum{{{tokens % 'output'}}}") == 6


def test_what_nobody_counted_is_not_a_zero(metrics: GatewayMetrics) -> None:
    metrics.keep(exchange(1, input_tokens=None, output_tokens=0, time_to_first_token_s=None))
    tokens = f'{LABELS},gen_ai_token_type="%s",route="direct"'
    assert value(metrics, f"gen_ai_client_token_usage_count{{{tokens % 'input'}}}") == 0
    assert value(metrics, f"gen_ai_client_token_usage_count{{{tokens % 'output'}}}") == 1
    first = f'gen_ai_server_time_to_first_token_seconds_count{{{LABELS},route="direct"}}'
    assert value(metrics, first) == 0


def test_a_name_a_client_made_up_is_no_series_of_its_own(metrics: GatewayMetrics) -> None:
    for number in range(50):
        metrics.keep(
            exchange(number, request_model=f"made-up-{number}", selected_model="", backend="")
        )
    text = metrics.render().decode()
    assert "made-up" not in text
    assert f'gen_ai_request_model="{OTHER_MODEL}"' in text


def test_a_name_that_nobody_was_asked_for_takes_no_place_of_a_model(
    metrics: GatewayMetrics,
) -> None:
    for number in range(200):
        made_up = exchange(number, selected_model=f"made-up-{number}", backend="", status="failed")
        metrics.keep(made_up)
    metrics.keep(exchange(1))
    text = metrics.render().decode()
    assert "made-up" not in text
    assert LABELS in text


def test_a_route_that_a_client_made_up_makes_no_series(metrics: GatewayMetrics) -> None:
    for number in range(3):
        refused = exchange(number, route=f"made-up-{number}", status="failed", backend="")
        metrics.keep(refused)
    metrics.keep(exchange(4, route="rag"))
    metrics.keep(exchange(5, route="rerank", operation="rerank"))
    text = metrics.render().decode()
    assert "made-up" not in text
    assert {'route="other"', 'route="rag"', 'route="rerank"'} <= set(
        re.findall(r'route="\w+"', text)
    )


def test_gauges_are_read_at_each_scrape(
    metrics: GatewayMetrics, gauges: dict[str, Mapping[str, float]]
) -> None:
    assert value(metrics, 'in_flight{backend="a"}') == 1
    assert value(metrics, "spool") == 7
    gauges["in_flight"] = {"a": 3}
    assert value(metrics, 'in_flight{backend="a"}') == 3
    assert value(metrics, 'in_flight{backend="b"}') is None
