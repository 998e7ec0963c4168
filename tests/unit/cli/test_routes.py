import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.__main__ import main
from tests.fakes.answers import reply_json
from tests.fakes.scripted_backend import ScriptedBackend, closed_port

CONFIG = """
[routing]
default_backend = "near"
[knowledge]
workspace = "garage"
[[backends]]
name = "near"
kind = "vllm"
base_url = "{near}"
[[backends]]
name = "far"
kind = "openai-compatible"
base_url = "http://127.0.0.1:{closed}/v1"
connect_timeout_s = 1.0
[[models]]
match = "mine"
backend = "far"
upstream_model = "mine-q4"
fallback = ["near"]
route = "rag"
[[models]]
match = "plain"
backend = "near"
parsers = []
context_window = 1234
"""


@pytest.fixture
def closed() -> Iterator[int]:
    with closed_port() as port:
        yield port


@pytest.fixture
def target(tmp_path: Path, closed: int) -> Iterator[list[str]]:
    """One backend that lists a Qwen and another that is not there."""
    with ScriptedBackend() as near:
        card = {"id": "Qwen/Qwen3-8B-AWQ", "object": "model", "max_model_len": 16384}
        near.on_path("GET /v1/models", reply_json(200, {"object": "list", "data": [card]}))
        file = tmp_path / "host.toml"
        file.write_text(CONFIG.format(near=near.base_url, closed=closed))
        yield ["--config", str(file)]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_listed_name_is_told_with_all_that_is_decided(
    target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "Qwen/Qwen3-8B-AWQ", *target]) == 0
    said = lines(capsys)
    assert said[0] == "Qwen/Qwen3-8B-AWQ"
    assert "  because       listed by near" in said
    assert any(
        line.startswith("  goes to       near, vllm at http://127.0.0.1:")
        and line.endswith("as Qwen/Qwen3-8B-AWQ: reachable")
        for line in said
    ), said
    assert "  route         direct" in said
    assert "  family        qwen3" in said
    assert "  parsers       tool_call, reasoning, vision" in said
    assert "  context       16384 tokens" in said, "what the server tells wins over the catalog"
    assert "  output limit  not known" in said
    assert "  capabilities  reasoning, tools" in said


def test_a_backend_that_is_not_there_is_told_beside_its_fallback(
    target: list[str], closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "mine", *target]) == 0
    said = lines(capsys)
    assert "  because       name mine" in said
    (first,) = [line for line in said if line.startswith("  goes to")]
    assert (
        f"far, openai-compatible at http://127.0.0.1:{closed}/v1, as mine-q4: not reachable: "
        in first
    )
    (second,) = [line for line in said if line.startswith("  else to")]
    assert "near, vllm at" in second
    assert second.endswith("as mine: reachable, but does not list it")
    assert "  route         rag, workspace garage" in said


def test_a_row_that_turns_every_parser_off_is_raw(
    target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "plain", "auto", *target]) == 0
    pages = capsys.readouterr().out.split("\n\n")
    assert "parsers       raw: nothing is read" in pages[0]
    assert "context       1234 tokens" in pages[0]
    assert pages[1].startswith("auto\n  selected      plain\n")
    assert "because       default backend for auto" in pages[1]


def test_without_a_name_every_name_is_a_line_and_what_is_not_there_one_below(
    target: list[str], closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", *target]) == 0
    heads, *rows, missing = lines(capsys)
    assert heads.split() == [
        "NAME", "BACKENDS", "ROUTE", "FAMILY", "PARSERS", "CONTEXT", "BECAUSE",
    ]  # fmt: skip
    cells = [row.split("  ") for row in rows]
    table = {row[0]: [cell.strip() for cell in row if cell.strip()] for row in cells}
    assert table["mine"][1:3] == ["far (not reachable) > near", "rag"]
    assert table["plain"][1:] == ["near", "direct", "-", "raw", "1234", "name plain"]
    assert table["Qwen/Qwen3-8B-AWQ"][3:6] == ["qwen3", "tool_call+reasoning+vision", "16384"]
    assert len(rows) == 3
    prefix = f"not reachable: far, openai-compatible at http://127.0.0.1:{closed}/v1: "
    assert missing.startswith(prefix)


def test_json_has_every_fact(target: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "mine", "--json", *target]) == 0
    said = json.loads(capsys.readouterr().out)
    (route,) = said["routes"]
    assert (route["name"], route["route"], route["workspace"]) == ("mine", "rag", "garage")
    assert [(c["backend"], c["kind"], c["upstream_model"]) for c in route["candidates"]] == [
        ("far", "openai-compatible", "mine-q4"),
        ("near", "vllm", "mine"),
    ]
    assert route["candidates"][0]["problem"]
    assert route["candidates"][1]["problem"] == ""
    assert [stop["backend"] for stop in said["unreachable"]] == ["far"]


def test_a_name_nobody_serves_is_told_in_its_place_and_loses_no_other(
    target: list[str], closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "mine", "nope", "plain", *target]) == 1
    pages = [page.splitlines() for page in capsys.readouterr().out.split("\n\n")]
    assert [page[0] for page in pages] == ["mine", "nope", "plain"]
    _, nowhere, remedy = pages[1]
    assert nowhere.startswith("  goes nowhere  The model 'nope' does not exist")
    assert remedy == (
        "  what to do    start what is not reachable and may list it: "
        f"far (http://127.0.0.1:{closed}/v1)"
    )
    assert "  because       name plain" in pages[2]


def test_a_name_without_a_route_is_in_the_json_too(
    target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "nope", "mine", "--json", *target]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [route["name"] for route in said["routes"]] == ["mine"]
    (failed,) = said["failed"]
    assert failed["name"] == "nope"
    assert "does not exist" in failed["problem"]
    assert failed["remedy"]


def test_auto_with_its_backend_down_says_which_one_and_what_to_do(
    tmp_path: Path, closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{closed}/v1"
    file = tmp_path / "down.toml"
    file.write_text(
        '[routing]\ndefault_backend = "far"\n[[backends]]\nname = "far"\nkind = "vllm"\n'
        f'base_url = "{address}"\n'
    )
    assert main(["routes", "auto", "--config", str(file)]) == 1
    name, nowhere, remedy = lines(capsys)
    assert name == "auto"
    assert nowhere.startswith("  goes nowhere  ")
    assert f"see that far (vllm at {address}) runs" in remedy


def test_a_name_nobody_serves_is_sent_to_the_list_where_every_backend_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedBackend() as near:
        file = tmp_path / "near.toml"
        file.write_text(
            f'[[backends]]\nname = "near"\nkind = "vllm"\nbase_url = "{near.base_url}"\n'
        )
        assert main(["routes", "NOPE", "--config", str(file)]) == 1
    nope = capsys.readouterr().out
    assert "what to do    `appliance routes` shows every name there is" in nope


def test_without_backends_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "host.toml"
    file.write_text("")
    assert main(["routes", "--config", str(file)]) == 1
    assert "no [[backends]] are configured" in capsys.readouterr().err
