"""GC702 on both engines: gradients in float32 against those in float64."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.narrow import VALUES_DIFFER, narrow_gradients_agree
from gradcheck.failures import Unsupported
from gradcheck.verdict import Verdict
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.1, 1.25, -2.3], [3.7, 0.0, 0.5]])


def is_single(adapter, x):
    return x.dtype == adapter.library.float32


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, name):
    outcome = narrow_gradients_agree(subject(adapter, getattr(library_functions(adapter), name), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


@pytest.mark.parametrize("factor", [0.5, 1.01, 0.999, -1.0])
def test_another_formula_in_float32_disagrees(adapter, factor):
    made = function(adapter, lambda x: x * x, lambda g, x: 2 * g * x * (factor if is_single(adapter, x) else 1.0))
    outcome = narrow_gradients_agree(subject(adapter, made, X))
    assert outcome.verdict is Verdict.DISAGREE
    assert outcome.finding.code == "GC702"
    assert outcome.finding.analytic == pytest.approx(factor * outcome.finding.numeric, rel=1e-5)


def test_another_function_in_float32_has_another_gradient_by_right(adapter):
    def value(x):
        return x * (1.01 if is_single(adapter, x) else 1.0)

    made = function(adapter, value, lambda g, x: value(g))
    outcome = narrow_gradients_agree(subject(adapter, made, X))
    assert (outcome.verdict, outcome.reason) == (Verdict.INCONCLUSIVE, VALUES_DIFFER)


def test_a_function_that_refuses_float32_is_not_asked(adapter):
    def refuse(x):
        if is_single(adapter, x):
            raise TypeError("float64 only")
        return x * x

    with pytest.raises(Unsupported, match="refuses float32"):
        narrow_gradients_agree(subject(adapter, function(adapter, refuse, lambda g, x: 2 * g * x), X))


def test_what_is_judged_in_float32_has_nothing_to_be_compared_with(adapter):
    assert narrow_gradients_agree(subject(adapter, lambda x: x * x, X.astype(np.float32))).vacuous


@pytest.mark.parametrize("x", [[19.0, -25.0, 8.0], [1e-6, 1e6, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
@pytest.mark.parametrize("name", ["tanh", "softmax", "centred", "norm", "relu of what cancels", "variance"])
def test_digits_that_float32_loses_are_no_other_formula(adapter, name, x):
    library = adapter.library
    made = {
        "tanh": lambda x: x.tanh(),
        "softmax": lambda x: library.softmax(10.0 * x, -1),
        "centred": lambda x: (x - x.mean()) / (1e-5 + ((x - x.mean()) ** 2).mean()).sqrt(),
        "norm": lambda x: (x * x).sum().sqrt() * x,
        "relu of what cancels": lambda x: (x * 0.1 * 3.0 - x * 0.3).relu(),
        "variance": lambda x: (x * x).mean() - x.mean() ** 2,
    }[name]
    outcome = narrow_gradients_agree(subject(adapter, made, np.array(x)))
    assert outcome.verdict is not Verdict.DISAGREE, outcome.finding
