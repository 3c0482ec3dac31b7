"""A failure that may be meant comes with the line that declares it, and others come without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradcheck.checks.gradient import vjp_matches_numeric
from gradcheck.functions.deliberate import Kind, deliberate
from gradcheck.functions.suggestion import suggestion
from gradcheck.verdict import Verdict
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]

POINT = np.array([[0.3, -1.25, 2.1], [-0.45, 0.8, -3.3]])


def suggested(adapter, forward, backward, *inputs, where=None):
    made = replace(subject(adapter, function(adapter, forward, backward), *inputs), where=where)
    outcome = vjp_matches_numeric(made)
    assert outcome.verdict is Verdict.DISAGREE
    return suggestion(made, outcome)


@pytest.mark.parametrize(
    ("backward", "said"),
    [
        (lambda g, x: g, "is the cotangent;"),
        (lambda g, x: -g, "is minus the cotangent;"),
        (lambda g, x: g.clamp(-0.9, 0.9), "is a clip of the cotangent;"),
        (lambda g, x: g * (0.5 / (g * g).sum().sqrt()).clamp(max=1.0), "is a clip of the cotangent;"),
    ],
    ids=["identity", "reversal", "clip by value", "clip by norm"],
)
def test_a_backward_that_passes_the_cotangent_on_gets_a_declaration_suggested(adapter, backward, said):
    line = suggested(adapter, lambda x: x * x.exp(), backward, POINT, where="pkg/ops.py:41 in Through.backward")
    assert said in line
    assert 'put __gradcheck_surrogate__ = "why" in the class body of Through' in line


def test_the_class_is_named_as_in_the_call_where_no_place_is_known(adapter):
    made = replace(subject(adapter, function(adapter, lambda x: x.exp(), lambda g, x: g), POINT), label="Up.apply(x0)")
    assert suggestion(made, vjp_matches_numeric(made)).endswith("of Up")


@pytest.mark.parametrize("off", [2e-6, 3e-5])
@pytest.mark.parametrize("shape", [(2, 3), (40,), ()])
def test_an_approximation_gets_a_tolerance_suggested_that_it_meets(adapter, off, shape):
    x = np.random.default_rng(1).uniform(0.5, 2.0, shape)
    made = subject(adapter, function(adapter, lambda x: x.exp(), lambda g, x: (1 + off) * g * x.exp()), x)
    line = suggestion(made, vjp_matches_numeric(made))
    rtol = float(line.rsplit("rtol=")[1].rstrip(")"))
    assert 2 * off * 0.99 <= rtol <= 5 * off * 1.01
    wider = replace(made, rtol=rtol)
    outcome = vjp_matches_numeric(wider)
    assert outcome.verdict is Verdict.AGREE or deliberate(wider, outcome).kind is Kind.TOLERATED
    narrower = replace(made, rtol=off / 2)
    assert deliberate(narrower, vjp_matches_numeric(narrower)) is None


@pytest.mark.parametrize(
    "backward",
    [
        lambda g, x: 0.5 * g * x.exp(),
        lambda g, x: 0.9 * g,
        lambda g, x: g * x,
        lambda g, x: g * 0,
        lambda g, x: 1.001 * g * x.exp(),
        lambda g, x: None,
        lambda g, x: g * x.exp() * (x < 2).to(x.dtype),
    ],
    ids=["factor", "scaled", "another slope", "zeros", "a tenth of a percent", "none", "one entry dead"],
)
def test_other_mistakes_get_no_suggestion(adapter, backward):
    assert suggested(adapter, lambda x: x.exp(), backward, POINT) == ""


def test_one_entry_is_too_little_for_a_pattern(adapter):
    assert suggested(adapter, lambda x: x.exp(), lambda g, x: g, np.array([0.7])) == ""


def test_a_pattern_at_ones_alone_is_none(adapter):
    assert suggested(adapter, lambda x: x * x, lambda g, x: g * x, np.ones((2, 3))) == ""


def test_one_of_two_gradients_is_no_pattern(adapter):
    right_in_y = function(adapter, lambda x, y: x.exp() * y, lambda g, x, y: (g, g * x.exp()))
    made = subject(adapter, right_in_y, POINT, POINT + 0.3)
    assert suggestion(made, vjp_matches_numeric(made)) == ""


def test_a_backward_that_raises_gets_no_suggestion(adapter):
    def raises(g, x):
        raise ValueError("no")

    assert suggested(adapter, lambda x: x.exp(), raises, POINT) == ""
