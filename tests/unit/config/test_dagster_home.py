import os
import socket
import stat
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from appliance.config.dagster_home import (
    code_socket,
    home,
    postgres_dsn,
    private_folder,
    refuse_unusable,
)
from appliance.config.schema import Config, DagsterConfig, PostgresConfig
from appliance.domain.errors import ConfigError


def test_the_home_is_in_the_state_folder_unless_the_file_names_one(tmp_path: Path) -> None:
    assert home(Config(), tmp_path) == tmp_path / "dagster"
    named = Config(dagster=DagsterConfig(home="/srv/dagster"))
    assert home(named, tmp_path) == Path("/srv/dagster")


def test_the_code_servers_socket_is_in_the_home() -> None:
    assert code_socket(Path("/srv/dagster")).parent == Path("/srv/dagster")


def test_hosts_that_share_a_home_have_a_socket_each() -> None:
    assert socket.gethostname()[:32] in code_socket(Path("/srv/dagster")).name


def test_a_home_too_deep_for_a_socket_has_it_in_a_short_folder_of_its_own() -> None:
    deep = Path("/srv") / ("d" * 60) / ("e" * 60)
    sockets = {code_socket(deep), code_socket(deep / "f")}
    assert len(sockets) == 2
    assert all(len(os.fsencode(socket)) <= 100 for socket in sockets)
    assert all(f"appliance-{os.getuid()}-" in socket.parent.name for socket in sockets)
    assert code_socket(deep) in sockets


def test_the_private_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_folder(folder) == folder


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with pytest.raises(ConfigError, match="not this user's alone"):
        private_folder(tmp_path)


def test_a_link_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="not this user's alone"):
        private_folder(tmp_path / "link")


def test_a_file_in_the_folders_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        private_folder(tmp_path / "file")


@pytest.mark.parametrize(
    "dsn", ["host=h port=5 user=u password=p dbname=agent_gateway", "postgresql://u:p@h:5/other"]
)
def test_the_database_is_dagster_beside_the_appliances_own(dsn: str) -> None:
    found = conninfo_to_dict(postgres_dsn(Config(postgres=PostgresConfig(dsn=dsn))))
    place = {"host": "h", "port": "5", "user": "u", "password": "p", "dbname": "dagster"}
    assert {key: str(value) for key, value in found.items()} == place


def test_a_database_the_file_names_is_taken_as_it_is() -> None:
    config = Config(dagster=DagsterConfig(dsn="host=far dbname=orchestra"))
    assert postgres_dsn(config) == "host=far dbname=orchestra"


def test_without_any_database_it_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"\[postgres\] dsn"):
        postgres_dsn(Config())


def test_a_home_that_cannot_be_made_and_one_of_others_are_refused_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "shared").mkdir(mode=0o755)
    for name, why in (("file/home", "nothing can be written in"), ("shared", "this user's alone")):
        with pytest.raises(ConfigError, match=why):
            refuse_unusable(Config(dagster=DagsterConfig(home=str(tmp_path / name))))
    refuse_unusable(Config(dagster=DagsterConfig(home=str(tmp_path / "new" / "home"))))
    assert not (tmp_path / "new").exists()
