import socket
import tempfile
from pathlib import Path

import msgspec
import pytest

from appliance.config.dagster_home import code_socket
from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.entrypoints.options import RunOptions
from appliance.pipelines import code


def test_the_code_server_listens_on_its_socket_only_and_is_told_no_secret() -> None:
    words = code.command(Path("/run/x/code.sock"), "appliance.pipelines.definitions")
    assert words[words.index("--socket") + 1] == "/run/x/code.sock"
    assert "--port" not in words
    assert "--host" not in words
    assert "-P" in words


def test_a_second_code_server_of_one_home_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as first:
        config = {"dagster": {"dsn": "host=db", "home": f"{folder}/home"}}
        options = RunOptions(config=msgspec.convert(config, Config))
        (Path(folder) / "home").mkdir(mode=0o700)
        first.bind(str(code_socket(Path(folder, "home").resolve())))
        first.listen()
        with pytest.raises(ConfigError, match="another code server"):
            code.run(options)
