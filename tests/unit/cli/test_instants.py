import argparse

import pytest

from appliance.cli.instants import instant


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("3d", 259_200), ("1w", 604_800), ("5s", 5)]
)
def test_an_age_counts_back_from_now(text: str, seconds: int) -> None:
    assert instant(text, 1_000_000.0) == 1_000_000.0 - seconds


@pytest.mark.parametrize("text", ["1970-01-02T00:00:00Z", "1970-01-02T02:00:00+02:00"])
def test_a_time_has_its_zone(text: str) -> None:
    assert instant(text, 0.0) == 86_400.0


@pytest.mark.parametrize("text", ["", "h", "-2h", "2x", "1970-01-02T00:00:00", "1970-01-02", "2h "])
def test_anything_else_says_what_to_write(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="an age"):
        instant(text, 0.0)
