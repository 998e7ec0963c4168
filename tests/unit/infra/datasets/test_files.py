"""JSONL and Parquet say the same of a pair."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from appliance.domain.datasets.pair import Pair
from appliance.infra.datasets.jsonl import JsonlFile
from appliance.infra.datasets.parquet import ParquetFile
from tests.fakes.datasets import START, call, faults, pair

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALLING = pair(
    2,
    messages=(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call(1)]},
        {"role": "tool", "tool_call_id": "call-1", "content": "rain"},
    ),
    response="It rains. ☔ \u2028",
    tools=(TOOL,),
    rating=4,
    language="en",
    input_tokens=12,
    duration_s=0.5,
)


def _jsonl(path: Path, pairs: Sequence[Pair]) -> list[str]:
    with closing(JsonlFile(path)) as file:
        for each in pairs:
            file.add(each)
    return path.read_text().split("\n")


def _parquet(path: Path, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    with closing(ParquetFile(path)) as file:
        for each in pairs:
            file.add(each)
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_a_line_is_what_openai_takes(tmp_path: Path) -> None:
    last = pair(3, response="", tool_calls=(call(3),), tools=(TOOL,))
    *lines, end = _jsonl(tmp_path / "a.jsonl", [pair(1), CALLING, last])
    assert end == ""
    assert [faults(line) for line in lines] == [[], [], []]
    assert json.loads(lines[0]) == {
        "messages": [
            {"role": "user", "content": "question 1"},
            {"role": "assistant", "content": "answer 1"},
        ]
    }
    assert json.loads(lines[1])["messages"] == [*CALLING.messages, CALLING.answer]
    assert json.loads(lines[2])["tools"] == [TOOL]


def test_tools_go_along_where_calls_are_made_alone(tmp_path: Path) -> None:
    line, _ = _jsonl(tmp_path / "a.jsonl", [pair(1, tools=(TOOL,))])
    assert json.loads(line).keys() == {"messages"}


def test_a_row_has_the_messages_and_all_else_that_is_known(tmp_path: Path) -> None:
    plain, calling = _parquet(tmp_path / "a.parquet", [pair(1), CALLING])
    assert plain["messages"][1] == {
        "role": "assistant",
        "content": "answer 1",
        "tool_calls": None,
        "tool_call_id": None,
    }
    assert calling["messages"][2]["tool_calls"] == [call(1)]
    assert json.loads(calling["tools"]) == [TOOL]
    told = ("rating", "language", "input_tokens", "output_tokens", "duration_s", "trace_id")
    assert [plain[name] for name in told] == [None, None, None, None, None, f"{1:032x}"]
    assert [calling[name] for name in told[:5]] == [4, "en", 12, None, 0.5]
    assert plain["created_at"].astimezone(UTC) == pair(1).created_at > START


def test_columns_have_types_and_are_compressed(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", [CALLING])
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.schema_arrow.field("created_at").type == pa.timestamp("us", tz="UTC")
    assert file.schema_arrow.field("rating").type == pa.int8()
    assert pa.types.is_list(file.schema_arrow.field("messages").type)


def test_a_file_without_pairs_has_its_columns(tmp_path: Path) -> None:
    assert _parquet(tmp_path / "a.parquet", []) == []
    assert "messages" in pq.read_schema(tmp_path / "a.parquet").names


def test_the_same_pairs_give_the_same_bytes(tmp_path: Path) -> None:
    pairs = [*(pair(n) for n in range(50)), CALLING]
    for name in ("a", "b"):
        _jsonl(tmp_path / f"{name}.jsonl", pairs)
        _parquet(tmp_path / f"{name}.parquet", pairs)
    for end in ("jsonl", "parquet"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


def test_long_pairs_make_a_row_group_sooner(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    _parquet(tmp_path / "a.parquet", [pair(n, response=long) for n in range(5)])
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
