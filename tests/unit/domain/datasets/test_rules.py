from typing import Any

import pytest

from appliance.config.schema import DatasetConfig
from appliance.domain.datasets.rules import EXCLUSIONS, REASONS, excluded
from tests.fakes.datasets import call, pair

RULED_OUT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "withheld": ({"prompt": "", "response": "", "tool_calls": (call(1, ""),)}, {}),
    "completion": ({"obstacle": "completion"}, {}),
    "finish_reason": ({"finish_reason": "length"}, {}),
    "tool_calls": ({"tool_calls": (call(1),)}, {}),
    "no_messages": ({"obstacle": "no_messages"}, {}),
    "media": ({"obstacle": "media"}, {}),
    "unsupported": ({"obstacle": "unsupported"}, {}),
    "prompt_length": ({"prompt": "too long"}, {"max_prompt_chars": 7}),
    "response_length": ({"response": "short"}, {"min_response_chars": 6}),
    "project": ({"project": "other"}, {"projects": ("mine",)}),
    "model": ({"model": "small"}, {"models": ("large",)}),
    "rating": ({"rating": 1}, {"min_rating": 2}),
    "unrated": ({}, {"rated_only": True}),
}


def test_every_rule_has_its_case() -> None:
    assert list(RULED_OUT) == list(EXCLUSIONS)
    assert set(EXCLUSIONS) < set(REASONS)


@pytest.mark.parametrize("reason", RULED_OUT)
def test_a_pair_is_left_out_for_the_reason_that_applies(reason: str) -> None:
    changes, rules = RULED_OUT[reason]
    assert excluded(pair(**changes), DatasetConfig(**rules), "full") == reason


def test_an_ordinary_pair_passes_and_so_does_everything_that_is_asked_for() -> None:
    assert excluded(pair(), DatasetConfig(), "full") == ""
    asked = DatasetConfig(
        finish_reasons=("stop", "tool_calls"),
        tool_calls=True,
        projects=("mine",),
        models=("qwen3-8b",),
        min_rating=3,
        rated_only=True,
    )
    made = pair(
        finish_reason="tool_calls", response="", tool_calls=(call(1),), project="mine", rating=3
    )
    assert excluded(made, asked, "full") == ""


def test_an_empty_list_lets_everything_through() -> None:
    assert excluded(pair(finish_reason=None), DatasetConfig(finish_reasons=()), "full") == ""


def test_of_several_reasons_the_first_counts() -> None:
    made = pair(finish_reason="length", rating=-5, tool_calls=(call(1),))
    assert excluded(made, DatasetConfig(), "full") == "finish_reason"


def test_a_bad_rating_keeps_a_pair_out_unless_less_is_asked_for() -> None:
    assert excluded(pair(rating=-1), DatasetConfig(), "full") == "rating"
    assert excluded(pair(rating=-1), DatasetConfig(min_rating=-5), "full") == ""


def test_a_prompt_is_as_long_as_all_that_stands_before_the_response() -> None:
    messages = ({"role": "system", "content": "x" * 90}, {"role": "user", "content": "x" * 11})
    rules = DatasetConfig(max_prompt_chars=100)
    assert excluded(pair(messages=messages), rules, "full") == "prompt_length"


def test_where_no_text_is_to_be_kept_none_is_written() -> None:
    assert excluded(pair(), DatasetConfig(), "metadata") == "withheld"
    assert excluded(pair(), DatasetConfig(), "none") == "withheld"
