"""Half words, half vectors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.rerank.fusion import fused, to_unit, z_scores

NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=20)


def test_z_scores_by_hand() -> None:
    assert z_scores([1.0, 2.0, 3.0]) == pytest.approx([-math.sqrt(1.5), 0.0, math.sqrt(1.5)])


@pytest.mark.parametrize("values", [[], [3.0], [0.5, 0.5, 0.5], [0.1 + 0.2, 0.3]])
def test_what_is_all_the_same_says_nothing(values: list[float]) -> None:
    assert z_scores(values) == [0.0] * len(values)


def test_two_methods_weigh_the_same_whatever_their_scale() -> None:
    assert fused([0.0, 10.0], [0.2, 0.1]) == pytest.approx([0.0, 0.0])
    assert fused([0.0, 10.0], [0.1, 0.2]) == pytest.approx([-1.0, 1.0])
    assert fused([0.0, 0.0], [0.1, 0.2]) == pytest.approx([-0.5, 0.5])


def test_the_middle_is_a_half_and_the_order_stays() -> None:
    shown = [to_unit(value) for value in (-3.0, -0.5, 0.0, 0.5, 3.0)]
    assert shown == sorted(shown)
    assert shown[2] == 0.5
    assert all(0 < value < 1 for value in shown)


@given(NUMBERS)
def test_any_numbers_give_finite_ones_around_nought(values: list[float]) -> None:
    found = z_scores(values)
    assert len(found) == len(values)
    assert all(math.isfinite(value) for value in found)
    assert abs(math.fsum(found)) < 1e-3
    assert all(0 <= to_unit(value) <= 1 for value in found)
