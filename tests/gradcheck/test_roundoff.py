"""The yardstick: round-off stays inside it, mistakes do not, NaN never passes."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.roundoff import NotFinite, Yardstick, fills_float32, moved_by_ulps, rounded_to


def total(arrays):
    return (arrays[0].sum(keepdims=True),)


def yardstick(values, compute=total, seed=0):
    return Yardstick(compute, (np.asarray(values),), np.random.default_rng(seed))


def terms(kind, random):
    values = random.standard_normal(int(random.integers(2, 1001)))
    if kind == "one sign":
        return np.abs(values)
    if kind == "wide":
        return values * np.exp(random.normal(0, 4, values.shape))
    if kind == "cancelling":
        return np.concatenate([values, -values * (1 + 1e-9 * random.standard_normal(values.shape))])
    return values


@pytest.mark.parametrize("kind", ["mixed", "one sign", "wide", "cancelling"])
def test_sums_in_another_order_stay_inside_the_bound(kind):
    random = np.random.default_rng(7)
    for _ in range(100):
        values = terms(kind, random)
        rule = Yardstick(total, (values,), random)
        for order in (values, values[::-1], random.permutation(values)):
            assert rule.mismatch([np.add.accumulate(order)[-1:]]) is None


def test_a_relative_error_of_1e_12_is_outside():
    found = yardstick([1.0, 2.0, 3.0]).mismatch([np.array([6.0 * (1 + 1e-12)])])
    assert found.entry == (0,)
    assert found.expected == 6.0


def test_a_bound_has_its_least():
    rule = yardstick([1.0, 2.0, 3.0])
    rule.least = 2.0**12
    assert rule.mismatch([np.array([6.0 * (1 + 5e-13)])]) is None
    assert rule.mismatch([np.array([6.0 * (1 + 2e-12)])]) is not None


def test_the_worst_entry_is_reported():
    rule = yardstick([[1.0, 2.0], [3.0, 4.0]], compute=lambda arrays: (arrays[0] * 1.0, arrays[0] * 2.0))
    wrong = rule.expected[1].copy()
    wrong[0, 1] += 1e-9
    wrong[1, 0] += 1e-3
    found = rule.mismatch([rule.expected[0], wrong])
    assert (found.array, found.entry) == (1, (1, 0))


def test_nan_in_the_actual_result_alone_is_a_mismatch():
    assert yardstick([1.0, 2.0]).mismatch([np.array([np.nan])]) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_expected_result_that_is_not_finite_judges_nothing(value):
    rule = yardstick([1.0, value])
    assert not rule.is_finite
    with pytest.raises(NotFinite):
        rule.mismatch([np.array([value])])


def test_another_shape_is_a_mismatch():
    assert yardstick([1.0, 2.0]).mismatch([np.array([3.0, 0.0])]) is not None


def test_moving_keeps_zeros_and_ties_in_all_arrays():
    a, b = np.array([0.0, 0.3, -0.3, 0.7]), np.array([0.3, 0.1])
    moved_a, moved_b = moved_by_ulps((a, b), np.random.default_rng(0), 4)
    assert moved_a[0] == 0.0
    assert moved_a[1] == -moved_a[2] == moved_b[0] != 0.3


def test_moving_leaves_integers_alone():
    (moved,) = moved_by_ulps((np.array([1, 2]),), np.random.default_rng(0), 4)
    assert moved.tolist() == [1, 2]


def test_a_probe_outside_the_domain_does_not_widen_the_bound():
    rule = yardstick([1.0], compute=lambda arrays: (np.sqrt(1.0 - arrays[0]) + 1.0,))
    with np.errstate(invalid="ignore"):
        assert rule.mismatch([np.array([1.1])]) is not None


def test_what_cancels_for_equal_values_has_the_round_off_of_its_terms():
    rule = yardstick(np.full(7, 0.3), compute=lambda arrays: (arrays[0] - arrays[0].mean(),))
    assert rule.mismatch([rule.expected[0] + 2e-16]) is None
    assert rule.mismatch([rule.expected[0] + 1e-12]) is not None


def test_a_jump_at_a_tie_does_not_widen_the_bound():
    def first_maximum(arrays):
        (values,) = arrays
        return ((np.arange(values.size) == values.argmax()) * 1.0,)

    rule = yardstick([0.5, 0.5, 0.1], compute=first_maximum)
    assert rule.mismatch([np.array([0.0, 1.0, 0.0])]) is not None


def test_float32_numbers_are_told_from_the_remains_of_cancellation():
    values = np.random.default_rng(0).standard_normal(50)
    assert fills_float32(values.astype(np.float32).astype(np.float64))
    assert not fills_float32((values + 1e10) - 1e10)
    assert not fills_float32(np.arange(50.0))
    assert not fills_float32(np.zeros(3))


def test_what_a_backward_pass_leaves_of_a_cancellation_is_measured_with_stretched_cotangents():
    """A gradient of 0, but for round-off that equal cotangents do not show while they move alike."""

    def compute(arrays):
        x, u = arrays
        return (x * ((u * 0.1).sum() - 0.1 * u.sum()) * 1e6,)

    rule = Yardstick(compute, (np.array([1.0]), np.full(7, 0.7)), np.random.default_rng(0), cotangents=1)
    assert rule.mismatch([rule.expected[0] + 1e-10]) is None
    assert rule.mismatch([rule.expected[0] + 1e-6]) is not None


def test_another_scale_of_the_cotangent_does_not_widen_the_bound():
    rule = Yardstick(lambda arrays: (arrays[0] * arrays[1],), (np.ones(2), np.ones(2)), np.random.default_rng(0), 1)
    assert rule.mismatch([rule.expected[0] + 1e-12]) is not None


def test_number_that_was_rounded_beside_a_larger_one_is_known_by_its_empty_last_bits():
    small = 1.8757973684022393e-08
    rounded = np.array([(small + 0.65) - 0.65, small, 0.5, 3.0 * 2.0**-54, 0.0, np.nan, np.inf])
    found = rounded_to(rounded, np.finfo(np.float64).eps)
    assert found[0] >= abs(rounded[0] - small) > 0.0
    assert found.tolist()[1:] == [0.0, 0.0, 2.0**-54, 0.0, 0.0, 0.0]
