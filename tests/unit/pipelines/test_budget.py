"""Runs of a sensor: ten at once, then one every so often, and never a longer wait than that."""

from itertools import pairwise

import pytest

from appliance.pipelines.budget import BURST, Budget, budget_in

EVERY_S = 60.0
NOW = 1_790_000_000.0


def runs(seconds: int, step_s: int = 5, budget: Budget | None = None) -> list[int]:
    """When runs are asked for by a sensor that ticks every `step_s` and always has something."""
    asked, cursor = [], budget.cursor() if budget else None
    for second in range(0, seconds, step_s):
        held = budget_in(cursor)
        if not held.due_in_s(NOW + second, EVERY_S):
            asked.append(second)
            cursor = held.spent(NOW + second, EVERY_S).cursor()
    return asked


def test_the_first_ten_are_asked_for_at_once() -> None:
    assert runs(50) == list(range(0, 50, 5))


def test_a_steady_trickle_costs_one_a_minute() -> None:
    day = runs(24 * 3600)
    assert len(day) == BURST + 24 * 60 - 1
    later = [after - before for before, after in pairwise(day[20:])]
    assert set(later) == {60}


def test_nobody_waits_longer_than_the_period() -> None:
    for step_s in (1, 5, 7):
        asked = runs(7200, step_s, Budget(0.0, NOW))
        gaps = [after - before for before, after in pairwise([0, *asked])]
        assert max(gaps) < EVERY_S + step_s


def test_a_rest_fills_it_up_and_no_further() -> None:
    empty = Budget(0.0, NOW)
    assert empty.due_in_s(NOW, EVERY_S) == EVERY_S
    assert empty.due_in_s(NOW + 45, EVERY_S) == pytest.approx(15)
    assert empty.due_in_s(NOW + 60, EVERY_S) == 0
    assert empty.spent(NOW + 10**6, EVERY_S).tokens == BURST - 1


def test_a_run_that_was_not_due_leaves_no_debt() -> None:
    left = Budget(0.25, NOW).spent(NOW, EVERY_S)
    assert left == Budget(0.0, NOW)
    assert left.due_in_s(NOW + EVERY_S, EVERY_S) == 0


def test_a_clock_that_was_put_back_makes_nobody_wait() -> None:
    ahead = Budget(0.0, NOW + 86_400)
    assert ahead.due_in_s(NOW, EVERY_S) == 0
    assert ahead.spent(NOW, EVERY_S) == Budget(BURST - 1, NOW)


def test_another_period_counts_from_then_on() -> None:
    assert Budget(0.0, NOW).due_in_s(NOW + 1, 1.0) == 0
    assert Budget(0.5, NOW).due_in_s(NOW, 3600.0) == pytest.approx(1800)


def test_it_is_the_same_when_it_is_read_again() -> None:
    assert budget_in(Budget(2.5, NOW).cursor()) == Budget(2.5, NOW)


@pytest.mark.parametrize(
    "cursor",
    [None, "", "12", "runs-0 3.0 5.0", "runs-1 3.0", "runs-1 x 5.0", "runs-1 nan 5.0",
     "runs-1 -4 5.0", "runs-1 11 5.0", "runs-1 0 inf", "runs-1 0 nan", '{"tokens": 3}'],
)  # fmt: skip
def test_a_cursor_nobody_can_read_is_a_full_one(cursor: str | None) -> None:
    assert budget_in(cursor).due_in_s(NOW, EVERY_S) == 0
    assert budget_in(cursor).spent(NOW, EVERY_S).tokens == BURST - 1
