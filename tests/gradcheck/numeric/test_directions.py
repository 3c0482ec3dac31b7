"""Directions and cotangents: both signs, nothing at rest, the input's own scale; and whole Jacobians."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.numeric import directions


@pytest.mark.parametrize("size", [2, 3, 10, 1024])
def test_cotangents_have_as_many_signs_of_either_kind(size):
    u = directions.cotangent(np.random.default_rng(0), size)
    assert abs(int((u > 0).sum()) - int((u < 0).sum())) <= 1
    assert (np.abs(u) >= 0.5).all()


def test_lone_entry_takes_both_signs_over_draws():
    drawn = {float(np.sign(directions.cotangent(np.random.default_rng(s), 1)[0])) for s in range(20)}
    assert drawn == {-1.0, 1.0}


def test_opposite_cotangent_shows_each_output_the_other_sign():
    random = np.random.default_rng(1)
    u = directions.cotangent(random, 7)
    assert (u * directions.opposite(random, u) < 0).all()


def test_every_entry_moves_by_its_own_size():
    values = np.array([100.0, -50.0, 0.0, 1e-3])
    v = np.abs(directions.direction(np.random.default_rng(2), values))
    assert (v[:2] >= 0.5 * np.abs(values[:2])).all()
    assert (v[:2] <= 2.0 * np.abs(values[:2])).all()
    assert v[2] >= 50.0
    assert v[3] >= 0.5 * 100.0 * directions.SMALLEST


def test_entry_of_another_scale_moves_by_its_own_size_and_widely_by_that_of_the_others():
    values = np.array([1e6, 1e-6])
    assert 0.5e-6 <= abs(directions.direction(np.random.default_rng(2), values)[1]) <= 2.0e-6
    assert abs(directions.direction(np.random.default_rng(2), values, wide=True)[1]) >= 0.5e6 * directions.SMALLEST


def test_all_zero_and_empty_inputs_have_directions():
    assert (np.abs(directions.direction(np.random.default_rng(3), np.zeros(3))) >= 0.5).all()
    assert directions.direction(np.random.default_rng(3), np.zeros((0, 2))).shape == (0, 2)
    assert directions.direction(np.random.default_rng(3), np.array(2.0)).shape == ()


def cancels(random, errors):
    """Whether wrong entries add up to less than three thousandths of the smallest along a drawn direction."""
    return abs(np.sum(errors * directions.direction(random, np.ones(errors.size)))) < 0.003 * np.abs(errors).min()


@pytest.mark.parametrize("errors", [[1.0, 1.0], [1.0, -1.0], [1.0, 2.0], [1.0, 1.0, 1.0], np.ones(50), [1.0, 0.3, 7.0]])
def test_wrong_entries_cancel_along_a_line_no_more_often_than_is_stated(errors):
    random = np.random.default_rng(7)
    draws = 6000
    found = sum(cancels(random, np.array(errors)) for _ in range(draws))
    expected = draws / (directions.MOST - directions.LEAST)
    assert found <= expected + 4.0 * np.sqrt(expected)


def test_one_wrong_entry_is_in_every_projection():
    random = np.random.default_rng(8)
    for _ in range(200):
        u, v = directions.cotangent(random, 30), directions.direction(random, np.ones(40))
        assert np.abs(np.outer(u, v)).min() >= 0.25


@pytest.mark.parametrize(("missed", "expected"), [(0.5, 1), (1 / 192, 1), (1e-3, 2), (1e-4, 2), (1e-6, 3), (1e-9, 4)])
def test_number_of_lines_follows_from_the_probability_of_missing_an_error(missed, expected):
    assert directions.lines(missed) == expected
    assert (directions.MOST - directions.LEAST) ** -expected <= missed * (1 + 1e-12)


@pytest.mark.parametrize("missed", [0.0, 1.0, -1.0, float("nan")])
def test_number_of_lines_needs_a_probability(missed):
    with pytest.raises(ValueError, match="missed: expected a probability"):
        directions.lines(missed)
