import stat
from pathlib import Path

import pytest

from appliance.config.keys import KeyFile, KeyRow, key_ring, keys_file, read_keys, write_keys
from appliance.config.schema import Config, GatewayConfig
from appliance.domain.access.keys import digest_of
from appliance.domain.errors import ConfigError

ROWS = (
    KeyRow(name="ci", sha256=digest_of("one")),
    KeyRow(name="ann.lee", sha256=digest_of("two"), workspaces=("team", "default")),
)


def test_the_file_round_trips_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.toml"
    write_keys(path, KeyFile(keys=ROWS))
    assert read_keys(path) == KeyFile(keys=ROWS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["keys.toml"]
    write_keys(path, KeyFile())
    assert read_keys(path) == KeyFile()


def test_the_ring_knows_the_keys_of_the_file() -> None:
    ring = key_ring(KeyFile(keys=ROWS))
    assert ring.authenticate("one").name == "ci"
    assert ring.authenticate("two").workspaces == ("team", "default")


def test_no_file_is_no_keys(tmp_path: Path) -> None:
    assert read_keys(None) == KeyFile()
    assert read_keys(tmp_path / "absent.toml") == KeyFile()


DIGEST = digest_of("x")


@pytest.mark.parametrize(
    "text",
    [
        "keys = 5",
        "[[keys]]\nname = 'a'\n",
        f"[[keys]]\nname = 'a b'\nsha256 = '{DIGEST}'\n",
        f"[[keys]]\nname = 'a'\nsha256 = '{DIGEST}'\nextra = 1\n",
        "[[keys]]\nname = 'a'\nsha256 = 'ag-the-key-itself'\n",
        f"[[keys]]\nname = 'a'\nsha256 = '{DIGEST.upper()}'\n",
        "[[keys",
    ],
)
def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"keys\.toml"):
        read_keys(path)


def test_a_file_that_cannot_be_read_is_not_no_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        read_keys(tmp_path / "bad.toml")


def test_the_configured_file_wins_over_the_states(tmp_path: Path) -> None:
    named = Config(gateway=GatewayConfig(keys_file="/etc/keys.toml"))
    assert keys_file(named, tmp_path) == Path("/etc/keys.toml")
    assert keys_file(Config(), tmp_path) == tmp_path / "keys.toml"
    assert keys_file(Config(), None) is None
