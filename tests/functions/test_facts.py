"""Facts: what held is claimed within its dtype's round-off, what holds trivially is left open, joining keeps both."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.observation.facts import Facts, facts_of, joined, precision_of


def numbers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def softmax(x, dtype):
    e = np.exp(x.astype(dtype) - x.max(axis=-1, keepdims=True).astype(dtype))
    return e / e.sum(axis=-1, keepdims=True, dtype=dtype)


def as_bfloat16(x):
    """Values rounded to bfloat16, as float32."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32).reshape(x.shape)


LOW_PRECISION = {
    "float64": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "bfloat16 as float32": as_bfloat16,
    "float32 raised to float64": lambda x: x.astype(np.float32).astype(np.float64),
    "bfloat16 raised to float64": lambda x: as_bfloat16(x).astype(np.float64),
}


@pytest.mark.parametrize("count", [2, 7, 1000, 20000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_softmax_sums_to_one_at_the_round_off_of_its_dtype(dtype, count):
    found = facts_of(softmax(3 * numbers(4, count), dtype))
    assert found.sums_to_one == (-1,)
    assert found.unit_norm == ()


@pytest.mark.parametrize("name", LOW_PRECISION)
def test_probabilities_and_unit_vectors_are_recognised_in_every_dtype(name):
    x = numbers(5, 9)
    rounded = LOW_PRECISION[name]
    assert facts_of(rounded(softmax(x, np.float64))).sums_to_one == (-1,)
    assert facts_of(rounded(x / np.linalg.norm(x, axis=0))).unit_norm == (-2,)


def test_float64_values_that_miss_one_by_a_float32_round_off_do_not_sum_to_it():
    assert facts_of(softmax(numbers(3, 5), np.float64) * (1 + 1e-6)).sums_to_one == ()


def test_sum_of_one_with_a_negative_entry_is_no_probability():
    assert facts_of(np.array([[2.0, -1.0], [0.5, 0.5]])).sums_to_one == ()


def test_short_numbers_near_norm_one_are_no_unit_vector():
    assert facts_of(np.array([1.0, 0.0, 0.25])).unit_norm == ()


def test_axis_of_size_one_is_open_where_its_value_is_one_and_decided_otherwise():
    found = facts_of(np.ones((3, 1)))
    assert ("sums_to_one", -1) in found.open
    assert ("unit_norm", -1) in found.open
    assert found.sums_to_one == found.unit_norm == ()
    other = facts_of(np.full((3, 1), 0.5))
    assert not {name for name, axis in other.open if axis == -1 and name != "order"}


def test_lone_one_hot_vector_is_open_and_several_are_probabilities():
    assert ("sums_to_one", -1) in facts_of(np.array([0.0, 1.0, 0.0])).open
    assert facts_of(np.eye(4)[[0, 2, 2]]).sums_to_one == (-1,)


def test_symmetric_batch_is_symmetric_up_to_round_off():
    x = numbers(3, 40, 40, dtype=np.float32)
    assert facts_of(x @ np.swapaxes(x, -1, -2)).is_symmetric
    assert not facts_of(x).is_symmetric
    assert not facts_of(numbers(3, 4)).is_symmetric


@pytest.mark.parametrize("values", [np.eye(3), np.ones((2, 2)), np.full((2, 3, 3), 0.7), np.ones((1, 1))], ids=str)
def test_symmetry_that_no_drawn_matrix_would_lack_is_open(values):
    found = facts_of(values)
    assert not found.is_symmetric
    assert ("is_symmetric", 0) in found.open


def test_asymmetric_matrix_with_infinite_entries_is_not_symmetric():
    assert not facts_of(np.array([[1.0, np.inf], [2.0, 3.0]])).is_symmetric
    assert facts_of(np.array([[1.0, np.inf], [np.inf, 3.0]])).is_symmetric


def test_order_is_that_of_every_slice():
    rising = np.sort(numbers(4, 5), axis=-1)
    assert facts_of(rising).order == 1
    assert facts_of(-rising).order == -1
    assert facts_of(np.concatenate([rising, -rising])).order == 0
    assert facts_of(np.array(1.0)).order == 0


def test_equal_values_leave_the_order_open():
    constant, rising = facts_of(np.full((2, 3), 0.3)), facts_of(np.arange(6.0).reshape(2, 3))
    assert constant.order == 0
    assert joined(constant, rising).order == joined(rising, constant).order == 1
    assert joined(rising, facts_of(-np.arange(6.0).reshape(2, 3))).order == 0


def test_integral_needs_two_values():
    assert facts_of(np.arange(3.0)).is_integral
    assert not facts_of(np.ones(20)).is_integral
    assert ("is_integral", 0) in facts_of(np.ones(20)).open
    assert not facts_of(np.array([1.0, 2.5])).is_integral


def test_integers_and_booleans_are_integral_and_nothing_else_is_asked():
    found = facts_of(np.array([[1, 0], [0, 1]]))
    assert found.is_integral
    assert (found.low, found.high, found.has_zeros) == (0.0, 1.0, True)
    assert found.sums_to_one == found.unit_norm == ()
    assert facts_of(np.array([True, False])).is_integral


@pytest.mark.parametrize("place", [0, 5, 999])
def test_one_repeated_value_anywhere_is_seen(place):
    values = numbers(1000)
    assert facts_of(values).is_distinct
    values[place] = values[500]
    assert not facts_of(values).is_distinct


def test_range_is_that_of_the_finite_values():
    found = facts_of(np.array([-np.inf, 2.0, np.nan, 5.0]))
    assert (found.low, found.high, found.is_finite) == (2.0, 5.0, False)
    nothing = facts_of(np.array([np.nan]))
    assert (nothing.low, nothing.high) == (math.inf, -math.inf)


def test_empty_tensor_says_nothing():
    empty, other = facts_of(np.zeros((0, 3))), facts_of(softmax(numbers(2, 3), np.float64))
    assert (empty.low, empty.high, empty.is_finite) == (math.inf, -math.inf, True)
    assert joined(empty, other) == joined(other, empty) == other


def test_complex_range_is_that_of_both_parts():
    found = facts_of(np.array([1 + 2j, -3j]))
    assert (found.low, found.high, found.has_zeros, found.order) == (-3.0, 2.0, False, 0)
    assert facts_of(np.array([0j, 1j])).has_zeros


def test_fact_that_one_tensor_lacks_is_lost():
    probable, other = facts_of(softmax(numbers(2, 3), np.float64)), facts_of(numbers(2, 3))
    assert joined(probable, other).sums_to_one == ()
    assert joined(probable, facts_of(np.ones((2, 1)))).sums_to_one == (-1,)


def test_precision_is_that_of_the_narrowest_dtype():
    assert precision_of(numbers(9)) == 2.0**-52
    assert precision_of(numbers(9, dtype=np.float32)) == 2.0**-23
    assert precision_of(numbers(9, dtype=np.float32).astype(np.float64)) == 2.0**-23
    assert precision_of(as_bfloat16(numbers(9))) == 2.0**-7


VALUES = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.bool_]),
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=3),
    elements=st.sampled_from([0, 1]),
) | hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=3),
    elements=st.sampled_from([0.0, 1.0, 0.5, -0.6, 0.8, -1.0, np.inf, np.nan, 3.25]),
)


@given(VALUES)
@settings(max_examples=200)
def test_joining_a_tensor_with_itself_changes_nothing(values):
    found = facts_of(values)
    assert joined(found, found) == found


@given(VALUES, VALUES, VALUES)
@settings(max_examples=200)
def test_joining_does_not_depend_on_the_order_of_the_calls(a, b, c):
    a, b, c = facts_of(a), facts_of(b), facts_of(c)
    assert joined(a, b) == joined(b, a)
    assert joined(joined(a, b), c) == joined(a, joined(b, c))


@given(VALUES, VALUES)
@settings(max_examples=200)
def test_joined_claims_nothing_that_one_of_two_tensors_disproves(a, b):
    both = joined(facts_of(a), facts_of(b))
    for found in (facts_of(a), facts_of(b)):
        for name in ("is_integral", "is_distinct", "is_symmetric"):
            assert not getattr(both, name) or getattr(found, name) or (name, 0) in found.open
        for name in ("sums_to_one", "unit_norm"):
            for axis in getattr(both, name):
                assert axis in getattr(found, name) or (name, axis) in found.open


def test_facts_stay_comparable_plain_data():
    assert facts_of(np.arange(3.0)) == Facts(
        0.0, 2.0, has_zeros=True, is_integral=True, is_distinct=True, order=1, open=frozenset()
    )
