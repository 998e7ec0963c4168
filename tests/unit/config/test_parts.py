import stat
from pathlib import Path
from typing import Any

import pytest

from appliance.config.load import load_config
from appliance.config.parts import Llm, Parts, parts_file, read_parts, with_parts, write_parts
from appliance.config.schema import (
    BackendConfig,
    Config,
    InferenceConfig,
    ModelConfig,
    NatsConfig,
    PostgresConfig,
    RoutingConfig,
)
from appliance.domain.errors import ConfigError

LLM = Llm(base_url="http://127.0.0.1:9/v1", api_key="k", model="small", context_window=2048)


def parts(**changes: Any) -> Parts:
    whole: dict[str, Any] = {
        "gateway": "http://127.0.0.1:8080",
        "inference": "http://127.0.0.1:3001",
        "consumer": "http://127.0.0.1:9597",
        "nats": "nats://127.0.0.1:4222",
        "nats_token": "t0ken",
        "postgres": "host=/run/pg user=agent_gateway password=p",
        "llm": LLM,
    }
    return Parts(**(whole | changes))


def mine(name: str = "mine") -> BackendConfig:
    return BackendConfig(name=name, kind="vllm", base_url="http://127.0.0.1:1/v1")


def test_the_file_round_trips_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    whole = parts(backends=[mine()], pids={"gateway": 7})
    write_parts(parts_file(tmp_path), whole)
    assert read_parts(tmp_path) == whole
    assert stat.S_IMODE(parts_file(tmp_path).stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["parts.json"]


def test_a_file_from_before_the_consumer_had_an_address_loads(tmp_path: Path) -> None:
    parts_file(tmp_path).write_bytes(b'{"gateway": "http://127.0.0.1:8080", "pids": {"nats": 1}}')
    assert read_parts(tmp_path).consumer is None


def test_writing_again_replaces_it(tmp_path: Path) -> None:
    write_parts(parts_file(tmp_path), parts())
    write_parts(parts_file(tmp_path), parts(gateway="http://127.0.0.1:9"))
    assert read_parts(tmp_path).gateway == "http://127.0.0.1:9"


def test_a_missing_or_broken_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no appliance is running"):
        read_parts(tmp_path)
    for broken in (b"", b"{", b'{"gateway": 5}', b"[]"):
        parts_file(tmp_path).write_bytes(broken)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_parts(tmp_path)


def test_running_parts_fill_what_the_configuration_leaves_open() -> None:
    config = with_parts(Config(), parts())
    assert config.gateway.url == "http://127.0.0.1:8080"
    assert (config.nats.url, config.nats.token) == ("nats://127.0.0.1:4222", "t0ken")
    assert config.postgres.dsn == "host=/run/pg user=agent_gateway password=p"
    assert config.inference.url == "http://127.0.0.1:3001"


def test_what_the_users_file_names_keeps_its_precedence() -> None:
    config = with_parts(
        Config(
            nats=NatsConfig(url="nats://far:4222", token="theirs"),
            postgres=PostgresConfig(dsn="host=far"),
            inference=InferenceConfig(url="http://far:3001"),
        ),
        parts(),
    )
    assert (config.nats.url, config.nats.token) == ("nats://far:4222", "theirs")
    assert (config.postgres.dsn, config.inference.url) == ("host=far", "http://far:3001")


def test_other_keys_of_a_table_survive() -> None:
    config = with_parts(Config(nats=NatsConfig(replicas=3)), parts())
    assert (config.nats.replicas, config.nats.url) == (3, "nats://127.0.0.1:4222")


def test_parts_that_are_not_there_stay_empty() -> None:
    config = with_parts(Config(), parts(nats=None, postgres=None, inference=None, llm=None))
    assert (config.nats.url, config.postgres.dsn, config.inference.url) == ("", "", "")
    assert (config.backends, config.routing.default_backend) == ((), "")


def test_the_embedded_model_is_a_backend() -> None:
    config = with_parts(Config(), parts())
    (backend,) = config.backends
    assert (backend.name, backend.kind, backend.base_url, backend.api_key) == (
        "embedded",
        "llamacpp",
        LLM.base_url,
        "k",
    )
    assert (config.models[0].match, config.models[0].backend) == ("small", "embedded")
    assert config.models[0].context_window == 2048


def test_the_users_backends_come_before_the_parts() -> None:
    found = [mine("found"), mine("mine")]
    config = with_parts(Config(backends=(mine(),)), parts(backends=found))
    assert [b.name for b in config.backends] == ["mine", "found", "embedded"]


def test_a_default_backend_of_the_users_stays() -> None:
    config = with_parts(Config(routing=RoutingConfig(default_backend="mine")), parts())
    assert config.routing.default_backend == "mine"


def test_a_row_of_the_users_for_the_embedded_models_name_stays_first() -> None:
    row = ModelConfig(match="small", backend="mine", route="rag")
    config = with_parts(Config(backends=(mine(),), models=(row,)), parts())
    assert [m.backend for m in config.models if m.match == "small"] == ["mine", "embedded"]


def test_a_backend_the_user_named_embedded_is_the_users() -> None:
    config = with_parts(Config(backends=(mine("embedded"),)), parts())
    assert [b.kind for b in config.backends] == ["vllm"]


def test_a_config_loads_over_a_running_state(tmp_path: Path) -> None:
    write_parts(parts_file(tmp_path), parts())
    file = tmp_path / "mine.toml"
    file.write_text('[nats]\nurl = "nats://far:4222"\n', encoding="utf-8")
    config = load_config(file, state=tmp_path)
    assert (config.nats.url, config.inference.url) == ("nats://far:4222", "http://127.0.0.1:3001")
