import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine.url import make_url

from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.entrypoints.options import RunOptions
from appliance.pipelines import instance

_ODD = r"p@ss/wo:rd %41?&#'\ ü"


def _config(**tables: Any) -> Config:
    return msgspec.convert(tables, Config)


def _driver_gets(config: Config) -> dict[str, Any]:
    """What psycopg2 is called with for our URL."""
    url = make_url(instance.postgres_url(config))
    assert url.drivername == "postgresql+psycopg2"
    arguments: dict[str, Any] = url.get_dialect()().create_connect_args(url)[1]
    return {name: str(value) for name, value in arguments.items()}


@pytest.mark.parametrize(
    "dsn",
    [
        make_conninfo(host="127.0.0.1", port=5433, user="ag", password=_ODD, dbname="d"),
        make_conninfo(host="/var/run/postgresql", user="a b@c", password=_ODD, dbname="d/e"),
        make_conninfo(host="::1", port=5432, user="ag", dbname="d", sslmode="require"),
        make_conninfo(host="a,b", port="1,2", user="ag", dbname="d", target_session_attrs="any"),
        make_conninfo(user="ag", dbname="d", options="-c statement_timeout=5s", connect_timeout=9),
        "postgresql://ag:p%40ss%2F%3A@db.example:6543/d?sslmode=prefer&application_name=x%20y",
        "postgresql://ag@%2Fvar%2Frun/d",
        "postgres://ag:secret@[::1]:5432/d",
        "service=mine dbname=d",
    ],
)
def test_every_parameter_of_a_dsn_reaches_the_driver(dsn: str) -> None:
    wanted = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    wanted.setdefault("connect_timeout", "3")
    assert _driver_gets(_config(dagster={"dsn": dsn})) == wanted


def test_what_a_dsn_says_of_itself_is_kept_beside_our_bound() -> None:
    dsn = "host=db application_name=mine connect_timeout=9"
    found = conninfo_to_dict(instance.conninfo(_config(dagster={"dsn": dsn})))
    assert (found["application_name"], str(found["connect_timeout"])) == ("mine", "9")
    ours = conninfo_to_dict(instance.conninfo(_config(dagster={"dsn": "host=db"})))
    assert (ours["dbname"], str(ours["connect_timeout"])) == ("dagster", "3")


def test_the_database_is_dagster_beside_the_appliances_own() -> None:
    dsn = make_conninfo(host="db", user="ag", password=_ODD, dbname="agent_gateway")
    assert _driver_gets(_config(postgres={"dsn": dsn}))["dbname"] == "dagster"


def test_a_dsn_without_a_database_means_dagster() -> None:
    assert _driver_gets(_config(dagster={"dsn": "host=db user=ag"}))["dbname"] == "dagster"


def test_a_dsn_that_is_none_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        instance.postgres_url(_config(dagster={"dsn": "host=db passwort=geheim"}))
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_without_postgresql_it_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"\[postgres\] dsn"):
        instance.postgres_url(Config())


def _options(tmp_path: Path, **dagster: Any) -> RunOptions:
    dsn = "host=db user=ag password=geheim"
    return RunOptions(
        config=_config(postgres={"dsn": dsn}, dagster=dagster),
        state=tmp_path / "state",
        config_file=tmp_path / "own.toml",
    )


def test_the_home_is_private_and_its_file_has_the_configured_values_and_no_secret(
    tmp_path: Path,
) -> None:
    home = instance.home(_options(tmp_path, max_runs=5, keep_ticks_days=9))
    text = (home / "dagster.yaml").read_text()
    told = yaml.safe_load(text)
    assert home.stat().st_mode & 0o777 == 0o700
    assert told["run_coordinator"]["config"]["max_concurrent_runs"] == 5
    assert told["retention"]["sensor"]["purge_after_days"] == 9
    assert told["storage"]["custom"]["config"] == {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}
    assert told["telemetry"] == {"enabled": False}
    assert "geheim" not in text


def test_the_file_is_replaced_only_when_it_differs(tmp_path: Path) -> None:
    file = instance.home(_options(tmp_path)) / "dagster.yaml"
    first = file.stat().st_ino
    instance.home(_options(tmp_path))
    assert file.stat().st_ino == first
    file.write_text("telemetry: {enabled: true}\n")
    instance.home(_options(tmp_path))
    assert yaml.safe_load(file.read_text())["telemetry"] == {"enabled": False}
    assert [path.name for path in file.parent.iterdir()] == ["dagster.yaml"]


def test_a_home_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match=r"this user.s alone"):
        instance.home(_options(tmp_path, home=str(shared)))


def test_the_environment_says_where_everything_is(tmp_path: Path) -> None:
    options = _options(tmp_path)
    told = instance.environment(options)
    assert told["DAGSTER_HOME"] == str(tmp_path / "state" / "dagster")
    assert told["APPLIANCE_STATE"] == str(tmp_path / "state")
    assert told["APPLIANCE_CONFIG"] == str(tmp_path / "own.toml")
    assert told["DAGSTER_POSTGRES_URL"] == instance.postgres_url(options.config)
    assert told["DAGSTER_DISABLE_TELEMETRY"]


def test_dagster_yaml_travels_in_the_wheel() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert "configs" in included
    assert Path("configs/dagster/dagster.yaml").exists()
