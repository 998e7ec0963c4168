"""The configuration is read when it is asked for, from the environment it was given."""

from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.pipelines.resources import ApplianceResource, as_dagster_consumes


def test_the_file_of_the_environment_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "host.toml"
    appliance = ApplianceResource({"APPLIANCE_CONFIG": str(file)})
    file.write_text("[dagster]\nrun_events = 7\n")
    assert appliance.config().dagster.run_events == 7
    file.write_text("[dagster]\nrun_events = 8\n")
    assert appliance.config().dagster.run_events == 8


def test_the_parts_of_the_state_folder_are_used(tmp_path: Path) -> None:
    appliance = ApplianceResource({"APPLIANCE_STATE": str(tmp_path)})
    with pytest.raises(ConfigError, match="no appliance is running"):
        appliance.config()
    (tmp_path / "parts.json").write_text(
        '{"gateway": "http://127.0.0.1:1", "nats": "nats://127.0.0.1:2", "nats_token": "t"}'
    )
    assert appliance.config().nats.url == "nats://127.0.0.1:2"


def test_only_the_wait_for_an_ack_is_dagsters_own(tmp_path: Path) -> None:
    file = tmp_path / "host.toml"
    file.write_text("[dagster]\nack_wait_s = 42.0\n[consumer]\nmax_deliver = 9\n")
    consumer = as_dagster_consumes(ApplianceResource({"APPLIANCE_CONFIG": str(file)}).config())
    assert (consumer.ack_wait_s, consumer.max_deliver) == (42.0, 9)
