"""A failing call is made small, and stays the failure that it was."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import default_claims
from gradcheck.minimal import minimal
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]

CLAIM = default_claims().get("GC101")
X = np.array([[0.37, 1.25, -2.0, 0.5], [3.0, 0.0, 0.5, 7.7], [1.0, 1.5, 2.5, -0.25]])


def shrunk(case, claim=CLAIM):
    outcome = claim.check(case)
    assert outcome.verdict == "disagree"
    return minimal(case, claim, outcome, seconds=60.0)


def test_a_mistake_in_every_entry_ends_at_one_round_entry(adapter):
    wrong = function(adapter, lambda x: x * x, lambda g, x: g * x)
    found, outcome = shrunk(subject(adapter, wrong, X))
    assert found.inputs[0].shape == (1, 1)
    assert float(2.0 * found.inputs[0][0, 0]).is_integer()
    assert outcome.finding.code == "GC101"
    assert outcome.finding.numeric == pytest.approx(2 * outcome.finding.analytic)


def test_axes_that_belong_together_are_cut_together(adapter):
    wrong = function(
        adapter, lambda x, y: x @ y, lambda g, x, y: (g @ y.transpose(0, 1), 2.0 * (x.transpose(0, 1) @ g))
    )
    found, _ = shrunk(subject(adapter, wrong, X, X.T.copy()))
    assert [x.shape for x in found.inputs] == [(1, 1), (1, 1)]


def test_a_mistake_that_needs_two_columns_keeps_two(adapter):
    def backward(g, x):
        return g * (3.0 if x.shape[1] > 1 else 2.0) * x

    found, _ = shrunk(subject(adapter, function(adapter, lambda x: x * x, backward), X))
    assert found.inputs[0].shape == (1, 2)


def test_a_smaller_call_that_raises_is_not_taken(adapter):
    def forward(x):
        if x.shape[0] != 3:
            raise ValueError("three rows")
        return x * x

    found, _ = shrunk(subject(adapter, function(adapter, forward, lambda g, x: g * x), X))
    assert found.inputs[0].shape == (3, 1)


def test_a_smaller_call_that_raises_something_else_is_not_taken(adapter):
    def backward(g, x):
        raise ValueError(f"{x.shape[0]} rows" if x.shape[0] > 1 else "no rows")

    found, outcome = shrunk(subject(adapter, function(adapter, lambda x: x * x, backward), X))
    assert found.inputs[0].shape == (2, 1)
    assert "2 rows" in outcome.finding.detail


def test_where_nothing_smaller_fails_the_call_stays(adapter):
    wrong = function(adapter, lambda x: x * x, lambda g, x: g * x)
    case = subject(adapter, wrong, np.array(2.0))
    assert shrunk(case)[0] is case


def test_no_candidate_is_tried_without_time(adapter):
    case = subject(adapter, function(adapter, lambda x: x * x, lambda g, x: g * x), X)
    outcome = CLAIM.check(case)
    assert minimal(case, CLAIM, outcome, seconds=-1.0) == (case, outcome)
