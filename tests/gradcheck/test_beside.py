"""A failure at one point only is told from one that holds around it, at zeros, ties and edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck.beside import is_only_here
from gradcheck.checks import default_claims
from gradcheck.failures import Finding
from gradcheck.verdict import AGREED, Outcome, Verdict
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]

GRADIENT = default_claims().get("GC101")
X = np.array([0.0, 1.25, -2.0])


def is_alone(adapter, forward, backward, *inputs, seconds=60.0):
    """What is said of the failure of a wrong backward at `inputs`."""
    case = subject(adapter, function(adapter, forward, backward), *inputs)
    finding = GRADIENT.check(case).finding
    assert finding is not None
    return is_only_here(GRADIENT, case, finding, seconds)


@pytest.mark.parametrize(
    ("forward", "backward", "inputs"),
    [
        (lambda x: x.exp(), lambda g, x: g * x.exp() * (x != 0.0), (X,)),
        (lambda x: x * x * x + x, lambda g, x: g * (3 * x * x + 1) + g * (x == 1.25), (X,)),
        (lambda x, y: x * y, lambda g, x, y: (g * y + g * (x == y), g * x), (X, np.array([2.0, 1.25, 3.0]))),
    ],
    ids=["exact zero", "one value", "tie"],
)
def test_what_is_wrong_at_one_point_only_is_so_there(adapter, forward, backward, inputs):
    assert is_alone(adapter, forward, backward, *inputs)


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda x: x * x, lambda g, x: g * x),
        (lambda x: x.exp(), lambda g, x: g * x.exp() * (x > 0.0)),
        (lambda x: x.exp(), lambda g, x: g * x.exp() * (x < 0.0)),
        (lambda x: x.exp(), lambda g, x: g * x.exp() * (x.abs() > 1e-4)),
        (lambda x: x.exp(), lambda g, x: g * x.exp() * (x.abs() > 0.5)),
    ],
    ids=["everywhere", "on one side", "on the other side", "in a small region", "in a region"],
)
def test_what_is_wrong_beside_the_point_too_is_not(adapter, forward, backward):
    assert not is_alone(adapter, forward, backward, X)


def test_beyond_the_edge_of_the_domain_nothing_is_asked(adapter):
    """A claim that would fail there is asked inside alone."""
    case = subject(adapter, lambda x: x.sqrt(), np.array([0.0]))
    claim = replace(GRADIENT, check=lambda at: AGREED if at.inputs[0][0] > 0.0 else Outcome(Verdict.DISAGREE))
    finding = Finding(GRADIENT.name, GRADIENT.code, GRADIENT.sentence, "any", "f(x0)")
    assert is_only_here(claim, case, finding, 60.0)
    assert not is_only_here(claim, replace(case, function=lambda x: x * x), finding, 60.0)


def test_without_time_nothing_is_said(adapter):
    assert not is_alone(adapter, lambda x: x.exp(), lambda g, x: g * x.exp() * (x != 0.0), X, seconds=-1.0)


def test_a_backward_that_raises_is_at_no_point_alone(adapter):
    def backward(g, x):
        if (x == 0.0).any():
            raise ValueError("mine")
        return g * x.exp()

    assert not is_alone(adapter, lambda x: x.exp(), backward, X)


def test_a_function_that_refuses_every_other_point_says_nothing(adapter):
    case = subject(adapter, function(adapter, lambda x: x.exp(), lambda g, x: g * x.exp() * (x != 0.0)), X)

    def refused(subject):
        raise ValueError("mine")

    finding = GRADIENT.check(case).finding
    assert not is_only_here(replace(GRADIENT, check=refused), case, finding, 60.0)


def test_a_report_says_so(adapter):
    wrong = function(adapter, lambda x: x.exp(), lambda g, x: g * x.exp() * (x != 0.0))
    (found,) = gradcheck.check(wrong, adapter.tensor(X), claims="GC101").failures
    assert found.only_here
    wrong = function(adapter, lambda x: x * x, lambda g, x: g * x)
    (found,) = gradcheck.check(wrong, adapter.tensor(X), claims="GC101").failures
    assert not found.only_here
