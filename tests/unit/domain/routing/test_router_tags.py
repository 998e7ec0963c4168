"""`x` and `x:latest` are one name, at every step of routing."""

import pytest

from appliance.domain.chat.ports import ModelCard
from appliance.domain.errors import ModelNotFound
from appliance.domain.routing.candidate import ModelRow
from appliance.domain.routing.router import NamedModel
from tests.unit.domain.routing.test_router import Routed


@pytest.mark.parametrize(("row", "asked"), [("m", "m:latest"), ("m:latest", "m")])
async def test_a_row_is_found_by_either_name_and_asked_for_by_its_own(row: str, asked: str) -> None:
    routed = Routed({"a": [], "b": []}, ModelRow(row, "b"))
    plan = await routed.plan(asked)
    assert (plan.selected, plan.candidates[0].upstream_model) == (row, row)
    assert plan.reason == f"name {row}"


async def test_the_name_as_asked_comes_first() -> None:
    routed = Routed({"a": [], "b": []}, ModelRow("m", "a"), ModelRow("m:latest", "b"))
    assert await routed.candidates("m") == [("a", "m")]
    assert await routed.candidates("m:latest") == [("b", "m:latest")]


async def test_a_row_by_the_other_name_comes_before_any_pattern() -> None:
    routed = Routed({"a": [], "b": []}, ModelRow("m*", "a"), ModelRow("m", "b"))
    assert await routed.candidates("m:latest") == [("b", "m")]


async def test_a_pattern_that_knows_only_one_of_them_matches() -> None:
    routed = Routed({"a": []}, ModelRow("m?", "a"))
    assert await routed.candidates("m1:latest") == [("a", "m1")]


async def test_behind_a_pattern_a_backend_is_asked_by_the_name_it_lists() -> None:
    routed = Routed({"a": ["m1"]}, ModelRow("m*", "a"))
    await routed.directory.refresh()
    assert await routed.candidates("m1:latest") == [("a", "m1")]


@pytest.mark.parametrize(("listed", "asked"), [("m", "m:latest"), ("m:latest", "m")])
async def test_a_listed_model_is_found_by_either_name(listed: str, asked: str) -> None:
    routed = Routed({"a": [], "b": [listed]})
    assert await routed.candidates(asked) == [("b", listed)]


async def test_any_list_with_the_name_as_asked_wins_over_one_with_the_other() -> None:
    routed = Routed({"a": ["m"], "b": ["m:latest"]})
    assert await routed.candidates("m:latest") == [("b", "m:latest")]


async def test_auto_may_have_a_tag() -> None:
    routed = Routed({"a": ["first"]})
    assert await routed.candidates("auto:latest") == [("a", "first")]


async def test_another_tag_is_another_model() -> None:
    routed = Routed({"a": ["m:8b"]}, ModelRow("n:8b", "a"))
    for asked in ("m", "m:latest", "n", "n:latest", ":latest"):
        with pytest.raises(ModelNotFound):
            await routed.plan(asked)


async def test_what_is_known_of_a_model_is_that_of_the_one_it_is_sent_to() -> None:
    routed = Routed(
        {"a": [ModelCard("up", "up", 4096)]},
        ModelRow("alias", "a", upstream_model="up"),
        ModelRow("up", family="qwen3", capabilities=frozenset({"tools"}), max_output_tokens=9),
    )
    await routed.directory.refresh()
    known = await routed.router.about("alias:latest")
    assert known == NamedModel("alias", "a", 4096, 9, "qwen3", frozenset({"tools"}))
