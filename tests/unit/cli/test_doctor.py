import socket
from pathlib import Path

import pytest

from appliance.__main__ import main


def test_a_dagster_that_cannot_work_as_configured_is_named_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "appliance" / "appliance.toml"
    own.parent.mkdir()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        settings = {
            f'listen = "127.0.0.1:{port}"': f"port {port} on 127.0.0.1 is in use",
            'home = "/dev/null/home"': "[dagster] home: nothing can be written",
            'dsn = "host=127.0.0.1 port=9"': "the database of [dagster] dsn does not let us in",
        }
        for setting, why in settings.items():
            own.write_text(f"[dagster]\n{setting}\n")
            assert main(["doctor", "--state", str(tmp_path / "state")]) == 1
            said = capsys.readouterr().out
            assert "NO  [dagster]" in said
            assert why in said
