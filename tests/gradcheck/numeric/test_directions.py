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
