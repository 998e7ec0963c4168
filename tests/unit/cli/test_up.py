import re
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.cli.up import Welcome
from appliance.config.load import shipped
from appliance.config.parts import Parts
from appliance.entrypoints.up import UpOptions


async def test_the_banner_has_the_base_url_of_each_api(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    welcome = Welcome(UpOptions(state=tmp_path, listen=""), ask=False)
    await welcome.show(Parts(gateway="http://127.0.0.1:8080"))
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["OpenAI", "API", "http://127.0.0.1:8080/v1"] in said
    assert ["Anthropic", "API", "http://127.0.0.1:8080"] in said


async def test_the_banner_says_where_the_pipelines_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    welcome = Welcome(UpOptions(state=tmp_path, listen=""), ask=False)
    page = "http://127.0.0.1:3000"
    await welcome.show(Parts(gateway="http://127.0.0.1:8080", dagster=page))
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["pipelines", page, "(starting)"] in said
    await welcome.show(Parts(gateway="http://127.0.0.1:8080"))
    out = capsys.readouterr().out
    assert "pipelines" not in out
    assert "\nOllama API     http://127.0.0.1:8080\n" in out


def test_only_what_may_be_left_out_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["up", "--without", "nats"])
    assert refused.value.code == 2
    assert re.search(r"invalid choice: 'nats' \(choose from '?dagster'?\)", capsys.readouterr().err)


def test_the_first_document_knows_both_apis() -> None:
    text = shipped("welcome.md").read_text(encoding="utf-8")
    assert "the OpenAI API or the Anthropic API" in text
