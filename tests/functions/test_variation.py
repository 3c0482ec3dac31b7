"""Variations: every fact is kept, sizes change together, the telling ones come first, one seed gives the same ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.functions.filling import Filler, Manner, keeps, may_be_tied, off_integers, resized, short
from gradcheck.functions.variation import LARGEST, variations
from gradcheck.observation.facts import Facts, facts_of, joined


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(x, axis=-1):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def definite(x):
    return x @ np.swapaxes(x, -1, -2) + np.eye(x.shape[-2])


def with_zeros(x):
    x = x.copy()
    x.reshape(-1)[::2] = 0.0
    return x


def masked(x):
    return np.where(np.arange(x.shape[-1]) > x.shape[-1] // 2, -np.inf, x)


KINDS = {  # from normal numbers of shape (n, m) to values with facts
    "any": lambda x: x,
    "positive": np.abs,
    "negative": lambda x: -np.abs(x),
    "in [0, 1]": lambda x: 1 / (1 + np.exp(-x)),
    "with zeros": with_zeros,
    "rectified": lambda x: np.maximum(x, 0.0),
    "probabilities": softmax,
    "probabilities with zeros": lambda x: with_zeros(softmax(x)) / with_zeros(softmax(x)).sum(axis=-1, keepdims=True),
    "probabilities by column": lambda x: softmax(x, -2),
    "one-hot": lambda x: np.eye(x.shape[1])[np.arange(x.shape[0]) % x.shape[1]],
    "unit vectors": lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True),
    "unit columns": lambda x: x / np.linalg.norm(x, axis=-2, keepdims=True),
    "symmetric": lambda x: x @ x.T - 3 * np.eye(len(x)),
    "definite": definite,
    "identity": lambda x: np.eye(len(x)),
    "symmetric batch": lambda x: np.stack([definite(x), definite(2 * x)]),
    "ascending": lambda x: np.sort(x, axis=-1),
    "descending in [0, 1]": lambda x: -np.sort(-1 / (1 + np.exp(-x)), axis=-1),
    "integers": lambda x: np.rint(3 * x),
    "counting": lambda x: np.arange(1.0, x.size + 1).reshape(x.shape),
    "shuffled integers": lambda x: np.argsort(x.reshape(-1)).reshape(x.shape).astype(np.float64),
    "equal": lambda x: np.full(x.shape, 0.75),
    "ones": lambda x: np.ones(x.shape),
    "zeros": lambda x: np.zeros(x.shape),
    "masked": masked,
    "tiny": lambda x: 1e-20 * x,
    "far apart": lambda x: x * 10.0 ** (4 * x),
    "scalar": lambda x: x[0, 0],
    "vector": lambda x: x[0],
    "complex": lambda x: x + 1j * np.roll(x, 1),
    "float32": lambda x: x.astype(np.float32),
    "float32 probabilities": lambda x: softmax(x).astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "float16 probabilities": lambda x: softmax(x).astype(np.float16),
}

INPUTS = st.builds(
    lambda kind, n, m, seed: np.asarray(KINDS[kind](numbers(n, m, seed=seed))),
    st.sampled_from(sorted(KINDS)), st.integers(2, 6), st.integers(2, 6), st.integers(0, 99),
)  # fmt: skip


def drawn(*inputs, seed=0, facts=None, **options):
    facts = facts or [facts_of(x) for x in inputs]
    return list(variations(inputs, facts, np.random.default_rng(seed), **options))


def missing(facts, values):
    """The facts that do not hold for these values: written apart from the code that draws."""
    found, both = facts_of(values), joined(facts, facts_of(values))
    lost = [
        name
        for name in ("is_finite", "is_integral", "is_distinct", "is_symmetric")
        if getattr(facts, name) and not getattr(both, name)
    ]
    if any(values.shape[axis] == 1 for axis in (*facts.sums_to_one, *facts.unit_norm)):
        lost = [name for name in lost if name != "is_distinct"]
    lost += ["order"] * (facts.order not in (0, both.order))
    lost += ["sums"] * (not {*facts.sums_to_one} <= {*both.sums_to_one})
    lost += ["norms"] * (not {*facts.unit_norm} <= {*both.unit_norm})
    between = facts.low < 0 < facts.high and not facts.is_integral
    lost += ["zeros"] * (found.has_zeros and not facts.has_zeros and not between)
    if (facts.low, facts.high) != (0.0, 0.0):
        lost += ["positive"] * (facts.low >= 0 > found.low)
        lost += ["negative"] * (facts.high <= 0 < found.high)
        lost += ["at most 1"] * (facts.low >= 0 and facts.high <= 1 < found.high)
    return lost


@given(INPUTS, INPUTS, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_variation_keeps_every_fact_shape_by_rank_and_dtype(a, b, seed):
    facts = [facts_of(a), facts_of(b)]
    for variation in drawn(a, b, seed=seed):
        for x, known, made in zip((a, b), facts, variation.inputs, strict=True):
            assert (made.dtype, made.ndim) == (x.dtype, x.ndim)
            allowed = ["is_distinct"] if variation.what.startswith("ties") and may_be_tied(known) else []
            assert [name for name in missing(known, made) if name not in allowed] == [], variation.what


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_values_can_be_drawn_anew(kind):
    x = np.asarray(KINDS[kind](numbers(4, 6)))
    first = drawn(x)[0]
    assert first.what == "other values"
    assert first.inputs[0].shape == x.shape
    assert (first.inputs[0] != x).any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "scalar"])
def test_every_kind_of_values_can_be_drawn_in_another_size(kind):
    x = np.asarray(KINDS[kind](numbers(4, 6)))
    assert any(v.inputs[0].shape != x.shape for v in drawn(x))


@given(INPUTS, st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_one_seed_gives_the_same_variations(x, seed):
    for one, other in zip(drawn(x, seed=seed), drawn(x, seed=seed), strict=True):
        assert one.what == other.what
        assert all((a == b).all() for a, b in zip(one.inputs, other.inputs, strict=True))


def test_what_the_reader_draws_meanwhile_changes_nothing():
    x, random = numbers(3, 4), np.random.default_rng(0)
    for one, other in zip(variations([x], [facts_of(x)], random), drawn(x), strict=True):
        random.random()
        assert (one.inputs[0] == other.inputs[0]).all()


def test_first_variations_are_values_zeros_sizes_and_magnitudes():
    found = [v.what for v in drawn(with_zeros(numbers(3, 4)))]
    assert found[:4] == ["other values", "exact zeros among x0", "sizes 3 -> 5", "larger magnitudes"]
    assert {"a row of exact zeros in x0", "exact zeros alone in x0", "ties of the largest", "smaller magnitudes"} < {
        *found
    }


def sizes_of(found):
    return {tuple(x.shape for x in v.inputs) for v in found}


def test_axes_of_one_size_change_together_and_one_class_at_a_time():
    x, w, b = numbers(5, 3), numbers(7, 3), numbers(7)
    shapes = sizes_of(drawn(x, w, b))
    assert ((5, 3), (7, 3), (7,)) in shapes
    for (n, k), (m, other), (last,) in shapes:
        assert k == other
        assert m == last
        assert len({n, k, m}) == 3
        assert (n != 5) + (k != 3) + (m != 7) <= 1


def test_sizes_tried_are_one_two_the_next_a_prime_none_and_beyond_what_a_kernel_takes_at_once():
    assert {shape[0] for (shape,) in sizes_of(drawn(numbers(8)))} == {8, 1, 2, 9, 11, 0, 17, 67, 1031}


def test_only_first_axes_become_empty():
    assert {shape for (shape,) in sizes_of(drawn(numbers(5, 3))) if 0 in shape} == {(0, 3)}


def test_what_is_elementwise_is_tried_without_axes():
    assert drawn(numbers(5, 3), is_elementwise=True)[-5].inputs[0].shape == ()
    assert () not in {shape for (shape,) in sizes_of(drawn(numbers(5, 3)))}


def test_labels_and_indices_keep_every_input_from_becoming_empty():
    assert not any(0 in v.inputs[0].shape for v in drawn(numbers(3, 4), np.array([2, 0, 1])))


def test_size_that_is_also_an_argument_is_left_alone():
    assert {shape[1] for (shape,) in sizes_of(drawn(numbers(5, 3), fixed_sizes={3, -1}))} == {3}
    assert len(sizes_of(drawn(numbers(5, 3), fixed_sizes={3, 5}))) == 1


@pytest.mark.parametrize("grid", [(2, 5, 7, 2), (5, 7, 2), (4, 5, 6, 7, 3)])
def test_axis_that_holds_the_coordinates_of_a_field_stays(grid):
    assert {shape[-1] for (shape,) in sizes_of(drawn(numbers(*grid)))} == {grid[-1]}


def test_axes_of_size_one_stay_as_they_broadcast():
    assert {(s[0], s[2]) for (s,) in sizes_of(drawn(numbers(1, 3, 1)))} == {(1, 1)}


def test_integer_tensors_are_cut_and_repeated_with_the_rest():
    x, index = numbers(3, 4), np.array([2, 0, 1])
    for v in drawn(x, index):
        n = v.inputs[0].shape[0]
        assert v.inputs[1].tolist() == ([2, 0, 1] * n)[:n]
        assert v.inputs[1].dtype == index.dtype


def test_what_is_not_differentiated_and_constant_stays_so():
    x, mask, weight = numbers(3, 4), np.ones((3, 4)), np.abs(numbers(4))
    found = drawn(x, mask, weight, differentiable=[True, False, False])
    assert all((v.inputs[1] == 1.0).all() for v in found)
    assert any((v.inputs[2] != weight).any() for v in found if v.inputs[2].shape == weight.shape)


def test_one_hot_labels_stay_one_hot():
    p, labels = softmax(numbers(6, 4)), np.eye(4)[[0, 1, 1, 3, 2, 0]]
    for v in drawn(p, labels, differentiable=[True, False]):
        assert {*np.unique(v.inputs[1])} <= {0.0, 1.0}
        assert (v.inputs[1].sum(axis=-1) == 1).all()


def test_lone_label_stays_one_hot_in_every_size():
    for v in drawn(numbers(3), np.array([0.0, 1.0, 0.0]), differentiable=[True, False]):
        assert sorted(v.inputs[1]) == [0.0] * (v.inputs[1].size - 1) + [1.0]


def test_uniform_weights_that_are_not_differentiated_keep_their_sum():
    for v in drawn(numbers(3, 4), np.full(4, 0.25), differentiable=[True, False]):
        assert v.inputs[1].sum() == pytest.approx(1.0)


def test_probabilities_along_an_axis_of_size_one_are_ones():
    found = next(v.inputs[0] for v in drawn(softmax(numbers(3, 4))) if v.inputs[0].shape == (3, 1))
    assert (found == 1.0).all()


def test_large_tensors_are_drawn_smaller_and_tied_axes_shrink_together():
    x, w = np.zeros((64, 500)), np.zeros((500, 300))
    for v in drawn(x, w):
        a, b = v.inputs
        assert max(a.size, b.size) <= LARGEST
        assert a.shape[1] == b.shape[0]
    assert drawn(x, w)[0].what.startswith("other values, sizes 500 -> ")


def test_large_tensor_whose_sizes_are_arguments_keeps_them():
    assert drawn(np.ones((200, 200)), fixed_sizes={200})[0].inputs[0].shape == (200, 200)


def test_expanded_input_is_drawn_expanded_and_plain():
    x = np.broadcast_to(numbers(4), (3, 4))
    strides = {v.inputs[0].strides[0] == 0 for v in drawn(x) if v.inputs[0].shape[0] > 1}
    assert strides == {True, False}


def test_a_lone_zero_is_tried_between_distinct_values_of_both_signs():
    found = [v.inputs[0] for v in drawn(numbers(3, 4)) if v.what == "exact zeros among x0"]
    assert [int((x == 0).sum()) for x in found] == [1]


def test_elsewhere_zeros_are_tried_only_where_zeros_were_seen():
    found = drawn(with_zeros(numbers(3, 4)), np.abs(numbers(3, 4)))
    assert all((v.inputs[1] != 0).all() for v in found)
    alone = next(v for v in found if v.what == "exact zeros alone in x0")
    assert not alone.inputs[0].any()
    row = next(v for v in found if v.what == "a row of exact zeros in x0").inputs[0]
    assert (row == 0).all(axis=-1).any()


def test_probabilities_may_have_zeros_among_them_but_no_row():
    found = [v.what for v in drawn(KINDS["probabilities with zeros"](numbers(3, 5)))]
    assert "exact zeros among x0" in found
    assert not {"a row of exact zeros in x0", "exact zeros alone in x0"} & {*found}


@pytest.mark.parametrize("kind", ["numbers", "one value"])
@pytest.mark.parametrize("seed", range(10))
def test_the_extremes_of_every_slice_are_attained_more_than_once(kind, seed):
    found = {
        v.what: v.inputs[0] for v in drawn(numbers(3, 4) if kind == "numbers" else np.full((3, 4), 1.7), seed=seed)
    }
    largest, smallest = found["ties of the largest"], found["ties of the smallest"]
    assert ((largest == largest.max(-1, keepdims=True)).sum(-1) > 1).all()
    assert ((smallest == smallest.min(-1, keepdims=True)).sum(-1) > 1).all()
    assert ((largest == largest.max(0)).sum(0) > 1).any()


@pytest.mark.parametrize(
    "values", [np.arange(12.0).reshape(3, 4)[:, ::-1], np.array([0.1, 0.25, 0.7, 1.5]), np.ones(1)]
)
def test_places_nodes_and_single_numbers_are_never_tied(values):
    assert not any(v.what.startswith("ties") for v in drawn(values))


def test_two_inputs_tie_with_each_other():
    x, y = numbers(3, 4), numbers(3, 4) + 10.0
    common = next(v.inputs for v in drawn(x, y) if v.what == "ties between x0 and x1")
    assert 0 < (common[0] == common[1]).sum() < 12
    assert not any("between" in v.what for v in drawn(y, -y))
    assert not any("between" in v.what for v in drawn(x, numbers(4)))


def test_magnitudes_are_as_seen_then_larger_and_smaller():
    x = 100 * (1 + np.random.default_rng(0).random((5, 6)))
    found = {v.what: np.abs(v.inputs[0]) for v in drawn(x)}
    assert 50 < found["other values"].min() <= found["other values"].max() < 300
    assert found["larger magnitudes"].min() > 500
    assert found["smaller magnitudes"].max() < 3


@pytest.mark.parametrize("kind", ["probabilities", "unit vectors"])
def test_normalised_values_have_no_other_magnitude(kind):
    found = {v.what for v in drawn(KINDS[kind](numbers(3, 4)))}
    assert not {"larger magnitudes", "smaller magnitudes"} & found


@pytest.mark.parametrize("domain", [(2.0, 3.0), (-np.inf, -5.0), (0.0, np.inf), (1e6, np.inf), (-0.1, 0.1)])
def test_values_lie_in_the_domain_said(domain):
    for v in drawn(numbers(3, 4), domain=domain):
        assert (v.inputs[0] >= domain[0]).all()
        assert (v.inputs[0] <= domain[1]).all()


def test_domain_is_said_for_one_input_by_its_number():
    found = drawn(numbers(3), numbers(3, seed=1), domain={1: (2.0, 3.0)})
    assert all(((v.inputs[1] >= 2) & (v.inputs[1] <= 3)).all() for v in found)
    assert any((v.inputs[0] < 2).any() for v in found)


def test_positive_definite_matrices_stay_so():
    for v in drawn(definite(numbers(4, 4))):
        np.linalg.cholesky(v.inputs[0])


def test_infinite_entries_stay_where_they_were():
    x = masked(numbers(3, 4))
    assert (np.isinf(drawn(x)[0].inputs[0]) == np.isinf(x)).all()


@pytest.mark.parametrize("inputs", [(), (np.zeros((0, 3)),), (np.arange(3),), (np.zeros(0), np.arange(4))])
def test_nothing_is_drawn_where_there_is_nothing_to_draw(inputs):
    assert drawn(*inputs) == []


def test_empty_input_stays_empty_beside_another():
    found = drawn(np.zeros((0, 3)), numbers(3, 2))
    assert found
    assert all(v.inputs[0].shape == (0, v.inputs[1].shape[0]) for v in found)


def test_scalar_takes_other_values():
    found = drawn(np.array(1.7))
    assert [v.what for v in itertools.islice(found, 3)] == ["other values", "larger magnitudes", "smaller magnitudes"]
    assert all(v.inputs[0].shape == () for v in found)


def test_facts_over_all_calls_count_more_than_the_values_of_one():
    x = softmax(numbers(3, 4))
    free = joined(facts_of(x), facts_of(numbers(3, 4)))
    assert any((v.inputs[0] < 0).any() for v in drawn(x, facts=[free]))


def test_values_are_short_and_off_integers_and_ties():
    values = Filler(3 * numbers(40), facts_of(3 * numbers(40))).draw((40,), np.random.default_rng(0), Manner())
    assert values is not None
    assert (np.abs(values - np.rint(values))[np.abs(values) > 0.5] >= 0.05 - 1e-12).all()
    assert np.diff(np.sort(values)).min() > 1e-3
    assert all(float(f"{value:.4g}") == value for value in values)


def test_short_numbers_have_three_digits_at_any_magnitude():
    found = short(np.array([0.0, 1.23456, -98765.0, 1.23456e-20, 4.5678e30]))
    assert found[:3].tolist() == [0.0, 1.23, -98800.0]
    assert found == pytest.approx([0.0, 1.23, -98800.0, 1.23e-20, 4.57e30], rel=1e-14, abs=0)


def test_numbers_near_an_integer_move_aside_within_the_bounds():
    found = off_integers(np.array([0.99, -2.01, 0.01, 1.5]), -np.inf, np.inf)
    assert found == pytest.approx([1.13, -2.13, 0.01, 1.5])
    assert off_integers(np.array([0.99]), 0.0, 1.0) == pytest.approx([0.87])


def test_resizing_cuts_and_repeats():
    assert resized(np.array([1, 2, 3]), (5,)).tolist() == [1, 2, 3, 1, 2]
    assert resized(np.array([[1, 2], [3, 4]]), (1, 3)).tolist() == [[1, 2, 1]]


def test_values_beyond_what_was_seen_do_not_keep_the_facts():
    positive = Facts(0.5, 3.0)
    assert keeps(positive, np.array([0.1, 9.0]))
    assert not keeps(positive, np.array([-0.1]))
    assert not keeps(positive, np.array([0.0]))
    assert not keeps(Facts(0.2, 0.9), np.array([1.0]))
    assert keeps(Facts(0.2, 1.0), np.array([1.0]))
    assert keeps(positive, np.array([-0.1]), (-1.0, 1.0))
