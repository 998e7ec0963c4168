"""The configuration is that of now, from the environment the resource was given."""

import os
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


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "token").write_text("first")
    file = tmp_path / "host.toml"
    file.write_text('[nats]\ntoken = "file:token"\n')
    _settle(file)
    appliance = ApplianceResource({"APPLIANCE_CONFIG": str(file)}, lambda: now[0])
    first = appliance.config()
    assert appliance.config() is first

    (tmp_path / "token").write_text("second")  # nobody looks at what the file names
    assert appliance.config() is first
    now[0] = 30.0  # but for so long only
    assert appliance.config().nats.token == "second"

    file.write_text('[nats]\ntoken = "file:token"\n[dagster]\nrun_events = 9\n')
    assert appliance.config().dagster.run_events == 9
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        appliance.config()


def test_an_appliance_that_was_started_again_is_found(tmp_path: Path) -> None:
    parts = tmp_path / "parts.json"
    appliance = ApplianceResource({"APPLIANCE_STATE": str(tmp_path)})
    for port in (2, 3):  # as `up` writes it: another file under the name, and as long
        fresh = tmp_path / "fresh"
        fresh.write_text(f'{{"gateway": "http://127.0.0.1:1", "nats": "nats://127.0.0.1:{port}"}}')
        _settle(fresh)
        fresh.replace(parts)
        assert appliance.config().nats.url == f"nats://127.0.0.1:{port}"
        assert appliance.config() is appliance.config()


def _settle(file: Path) -> None:
    """It was written a while ago."""
    os.utime(file, (1_700_000_000, 1_700_000_000))


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
