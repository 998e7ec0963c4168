"""From rows the writers made to files: what is in them, what is not, and why."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from appliance.config.schema import DatasetConfig
from appliance.domain.datasets.manifest import Manifest
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.exchange import Exchange, Feedback
from appliance.domain.events.privacy import withheld
from appliance.infra.datasets.export import export
from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pool import PostgresPool
from tests.fakes.datasets import faults
from tests.fakes.exchanges import exchange
from tests.integration.infra.datasets.conftest import Keep

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
Export = Callable[..., Awaitable[Manifest]]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "chat_pairs"


@pytest.fixture
def exported(pool: PostgresPool, target: Path) -> Export:
    """With `[dataset]` as named; `store`, `since`, `until` as the function has them."""

    async def run(
        store: Any = "full", since: float | None = None, until: float | None = None, **config: Any
    ) -> Manifest:
        made = await export(pool, DatasetConfig(**config), store, target, since=since, until=until)
        return made.manifest

    return run


def _asked(number: int, prompt: str = "", **changes: Any) -> Exchange:
    """One question, without a system prompt; another conversation each."""
    messages = ({"role": "user", "content": prompt or f"What of {number}, and why is it so?"},)
    same: dict[str, Any] = {"messages": messages, "conversation_id": f"c-{number}"}
    return exchange(number, **(same | changes))


def _rated(number: int, rated: int, rating: int, **changes: Any) -> Exchange:
    feedback = Feedback(f"{rated:032x}", rating)
    return exchange(number, operation="feedback", feedback=feedback, messages=(), **changes)


def _read(target: Path) -> list[dict[str, Any]]:
    """Every line of both sides, each one OpenAI takes."""
    lines = [
        line
        for side in ("train", "validation")
        for line in (target / f"{side}.jsonl").read_text().splitlines()
    ]
    assert [fault for line in lines for fault in faults(line)] == []
    return [json.loads(line) for line in lines]


def _table(target: Path) -> dict[int, dict[str, Any]]:
    """Rows of both sides by their number."""
    return {
        int(row["trace_id"], 16): row
        for side in ("train", "validation")
        for row in pq.read_table(target / f"{side}.parquet").to_pylist()
    }


def _bytes(target: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in target.iterdir() if p.name != "manifest.json"}


def _why(manifest: Manifest) -> dict[str, int]:
    return {reason: count for reason, count in manifest.excluded.items() if count}


async def test_every_pair_is_on_one_side_in_both_formats(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(*(_asked(n) for n in range(60)))
    manifest = await exported(validation_share=0.3)
    assert (manifest.read, manifest.train + manifest.validation) == (60, 60)
    assert manifest.validation > 0
    assert len(_read(target)) == len(_table(target)) == 60
    for side in ("train", "validation"):
        lines = (target / f"{side}.jsonl").read_text().splitlines()
        messages = [json.loads(line)["messages"] for line in lines]
        table = pq.read_table(target / f"{side}.parquet").to_pylist()
        assert [[m["content"] for m in each] for each in messages] == [
            [m["content"] for m in row["messages"]] for row in table
        ]


async def test_the_manifest_tells_the_files_the_times_and_the_rules(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(*(_asked(n) for n in range(10)), _asked(10, finish_reason="length"))
    manifest = await exported(projects=("", "x"), until=1_795_000_005.0)
    assert (
        json.loads((target / "manifest.json").read_text())["files"].keys() == _bytes(target).keys()
    )
    for name, content in _bytes(target).items():
        file = manifest.files[name]
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (manifest.oldest, manifest.newest) == (
        "2026-11-18T11:06:40.250000Z",
        "2026-11-18T11:06:44.250000Z",
    )
    assert (manifest.read, manifest.since, manifest.until) == (
        5,
        None,
        "2026-11-18T11:06:45.000000Z",
    )
    assert manifest.filters["projects"] == ["", "x"]
    assert "dir" not in manifest.filters
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest.appliance)


async def test_an_export_tells_where_its_pairs_are_in_the_stream_and_no_others(
    keep: Keep, pool: PostgresPool, target: Path
) -> None:
    cut = {"finish_reason": "length"}
    changes: list[dict[str, Any]] = [{}, {}, cut, {}, cut, {"status": "failed"}, {}, {}]
    await keep(*(_asked(number, **each) for number, each in enumerate(changes, 1)))
    made = await export(pool, DatasetConfig(), "full", target, since=None, until=None)
    assert made.sequences == [(1, 2), (4, 4), (7, 8)]
    assert made.manifest.train + made.manifest.validation == 5


async def test_what_is_no_row_of_the_table_parts_no_pairs_in_the_stream(
    keep: Keep, pool: PostgresPool, target: Path
) -> None:
    await keep(_asked(1))
    await keep(_rated(2, 1, 1))  # takes the second place in the stream
    await keep(_asked(3), _asked(4))
    made = await export(pool, DatasetConfig(), "full", target, since=None, until=None)
    assert made.sequences == [(1, 4)]


async def test_the_same_rows_give_the_same_bytes_and_more_rows_move_no_pair(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(*(_asked(n) for n in range(40)))
    await exported(validation_share=0.3)
    first = _bytes(target)
    await exported(validation_share=0.3)
    assert _bytes(target) == first
    await keep(*(_asked(n) for n in range(40, 60)))
    await exported(validation_share=0.3)
    for name in ("train.jsonl", "validation.jsonl"):
        assert set(first[name].splitlines()) < set((target / name).read_bytes().splitlines())


async def test_what_the_rules_are_against_is_left_out_and_counted(
    keep: Keep, exported: Export, target: Path
) -> None:
    image = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {}}]
    await keep(
        _asked(1),
        _asked(2, finish_reason="length"),
        _asked(3, tool_calls=(CALL,)),
        _asked(4, messages=({"role": "user", "content": image},)),
        _asked(5, operation="text_completion"),
        _asked(6, answer="short"),
        _asked(7, project="other"),
        withheld(_asked(8), "metadata"),
        withheld(_asked(9, tool_calls=(CALL,)), "metadata"),
        _asked(10, status="failed"),
        _asked(11, "What of 1, and why is it  so?", answer="answer 1\n"),
    )
    manifest = await exported(min_response_chars=6, projects=("",))
    assert _why(manifest) == {
        "withheld": 2,
        "completion": 1,
        "finish_reason": 1,
        "tool_calls": 1,
        "media": 1,
        "response_length": 1,
        "project": 1,
        "exact_duplicate": 1,
    }
    assert (manifest.exact_duplicates, manifest.read) == (1, 10)
    assert list(_table(target)) == [1]


async def test_a_rating_counts_where_it_is_of_who_asked_and_the_newest(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(*(_asked(n, key_name="ada") for n in range(1, 6)))
    await keep(
        _rated(11, 1, -3, key_name="ada"),
        _rated(12, 2, -3, key_name="bob"),
        _rated(13, 3, -3, key_name="ada"),
        _rated(14, 3, 4, key_name="ada"),
        _rated(15, 99, 5, key_name="ada"),
    )
    manifest = await exported()
    assert _why(manifest) == {"rating": 1}
    assert {n: row["rating"] for n, row in _table(target).items()} == {
        2: None,
        3: 4,
        4: None,
        5: None,
    }
    manifest = await exported(rated_only=True, min_rating=-5)
    assert _why(manifest) == {"unrated": 3}
    assert {n: row["rating"] for n, row in _table(target).items()} == {1: -3, 3: 4}


async def test_of_two_that_are_the_same_the_better_rated_stays(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(_asked(1, "Same?", answer="Same."), _asked(2, "Same?", answer="Same."))
    await keep(_rated(3, 2, 5))
    assert (await exported()).exact_duplicates == 1
    assert list(_table(target)) == [2]


async def test_near_duplicates_go_with_the_share_that_is_called_near(
    keep: Keep, exported: Export, target: Path
) -> None:
    long = " ".join(f"word{n}" for n in range(200))
    await keep(_asked(1, "Tell me", answer=long), _asked(2, "Tell me", answer=f"{long} indeed"))
    assert (await exported()).near_duplicates == 1
    assert list(_table(target)) == [1]
    assert (await exported(near_duplicates=1.0)).near_duplicates == 0


async def test_a_conversation_is_told_as_it_was_sent_with_its_calls_and_tools(
    keep: Keep, exported: Export, target: Path
) -> None:
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look!"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    )
    await keep(_asked(1, messages=messages, answer="A cat.", params={"tools": TOOLS}))
    await exported(context="conversation", min_prompt_chars=20)
    (line,) = _read(target)
    assert line == {
        "messages": [*messages, {"role": "assistant", "content": "A cat."}],
        "tools": TOOLS,
    }
    (row,) = _table(target).values()
    assert (row["prompt"], row["response"]) == ("Look!", "A cat.")


async def test_a_response_of_calls_alone_is_an_example_where_they_are_asked_for(
    keep: Keep, exported: Export, target: Path
) -> None:
    called = {"answer": "", "tool_calls": (CALL,), "finish_reason": "tool_calls"}
    await keep(_asked(1, **called, params={"tools": TOOLS}))
    await exported(tool_calls=True, finish_reasons=("stop", "tool_calls"))
    (line,) = _read(target)
    assert line["messages"][-1] == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert line["tools"] == TOOLS


async def test_the_turns_of_a_conversation_are_on_one_side(
    keep: Keep, exported: Export, target: Path
) -> None:
    for opening in range(12):
        messages: list[dict[str, Any]] = []
        for turn in range(3):
            number = 10 * opening + turn
            messages = [*messages, {"role": "user", "content": f"Turn {turn} of {opening}"}]
            await keep(_asked(number, messages=tuple(messages), correlation_id=f"c-{number}"))
            messages = [*messages, {"role": "assistant", "content": f"answer {number}"}]
    manifest = await exported(context="conversation", validation_share=0.4)
    assert (manifest.train + manifest.validation, manifest.validation > 0) == (36, True)
    openings = [
        {json.loads(line)["messages"][0]["content"] for line in lines}
        for side in ("train", "validation")
        if (lines := (target / f"{side}.jsonl").read_text().splitlines())
    ]
    assert not openings[0] & openings[1]


async def test_a_conversation_that_is_gone_too_long_or_cannot_be_said_is_left_out(
    keep: Keep, exported: Export, pool: PostgresPool
) -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "x"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [image]}
    await keep(
        _asked(1),
        _asked(2, messages=({"role": "system", "content": "x" * 900}, _asked(2).messages[0])),
        _asked(3, messages=({"role": "tool", "content": "?"}, _asked(3).messages[0])),
        _asked(4, messages=({"role": "user", "content": [result]}, _asked(4).messages[0])),
    )
    async with pool.transaction() as connection:
        await connection.execute("DELETE FROM chat_history WHERE trace_id = %s", (f"{1:032x}",))
    manifest = await exported(context="conversation", max_prompt_chars=100)
    assert _why(manifest) == {"no_messages": 1, "media": 1, "unsupported": 1, "prompt_length": 1}


async def test_a_language_is_told_and_chosen(keep: Keep, exported: Export, target: Path) -> None:
    await keep(
        _asked(1, answer="Das ist eine längere Antwort auf deine Frage."),
        _asked(2, answer="This is a rather long answer to your question."),
        _asked(3, "4 + 4", answer="8"),
    )
    assert _why(await exported(languages=("de", "und"))) == {"language": 1}
    assert {n: row["language"] for n, row in _table(target).items()} == {1: "de", 3: "und"}


async def test_nothing_of_somebody_forgotten_is_in_the_next_dataset(
    keep: Keep, exported: Export, target: Path, pool: PostgresPool
) -> None:
    await keep(_asked(1, "my secret", conversation_id="alice"), _asked(2))
    await exported()
    assert b"secret" in b"".join(_bytes(target).values())
    await forget(pool, "alice")
    await exported()
    assert list(_table(target)) == [2]
    assert b"secret" not in b"".join(_bytes(target).values())
    assert [p.name for p in target.parent.iterdir() if p.is_dir()] == ["chat_pairs"]


async def test_who_is_forgotten_after_the_rows_were_read_is_left_out(
    keep: Keep, exported: Export, target: Path, pool: PostgresPool
) -> None:
    await keep(_asked(1, conversation_id="alice"), _asked(2))
    async with pool.transaction() as connection:  # as `forget` bars it, its rows still there
        await connection.execute(
            "INSERT INTO forgotten (digest, forgotten_at) VALUES "
            "(sha256('alice'), greatest(now(), to_timestamp(1795000002)))"
        )
    assert _why(await exported()) == {"forgotten": 1}
    assert list(_table(target)) == [2]


async def test_where_no_text_is_kept_none_is_written(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(_asked(1), _asked(2))
    manifest = await exported(store="metadata")
    assert (_why(manifest), manifest.privacy_store) == ({"withheld": 2}, "metadata")
    assert _read(target) == []


async def test_a_database_that_is_away_leaves_the_old_dataset(
    keep: Keep, exported: Export, target: Path
) -> None:
    await keep(_asked(1))
    await exported()
    before = _bytes(target)
    async with PostgresPool("host=127.0.0.1 port=1 dbname=x") as away:
        with pytest.raises(PartUnavailable):
            await export(away, DatasetConfig(), "full", target, since=None, until=None)
    assert _bytes(target) == before
