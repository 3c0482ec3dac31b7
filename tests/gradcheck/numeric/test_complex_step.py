"""The complex step is exact where a function is analytic, and refuses where it is not seen to be."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from gradcheck.numeric.complex_step import complex_step
from gradcheck.numeric.differences import Ladder

X = np.array([0.7, -1.3, 2.0])
V = np.array([1.0, -0.5, 2.0])


def stepped(function, x=X, effort=2):
    base = function(x)
    ladder = Ladder(lambda t: function(x + t * V).astype(np.float64)).derivative(effort)
    return complex_step(lambda t: function(x + t * V), base, ladder)


RIGHT = {
    "sine": (np.sin, np.cos),
    "chain": (lambda x: np.exp(np.sin(x) * x), lambda x: np.exp(np.sin(x) * x) * (np.cos(x) * x + np.sin(x))),
    "tall": (lambda x: 1e9 + np.sin(x), np.cos),
    "stiff": (lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x)),
    "saturated": (lambda x: np.tanh(9 * x), lambda x: 9 / np.cosh(9 * x) ** 2),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_analytic_function_s_derivative_is_within_the_error(name):
    function, derivative = RIGHT[name]
    found, expected = stepped(function), derivative(X) * V
    assert (np.abs(found.value - expected) <= found.error).all()
    assert (found.error <= 1e-10 * np.abs(expected)).all()


WRONG = {
    "absolute value": lambda x: np.abs(x) + 0 * x,
    "real part": lambda x: x.real * x,
    "conjugate": np.conj,
    "norm": lambda x: x / np.sqrt(np.sum(np.abs(x) ** 2)),
    "a little conjugate": lambda x: np.sin(x) + 1e-5 * np.conj(x),
    "another branch for complex": lambda x: np.exp(x) if x.dtype.kind == "c" else np.sin(x),
    "frozen": lambda x: x * np.exp(x.real),
    "real output": lambda x: np.sin(x).real,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_function_that_is_not_analytic_is_refused(name):
    assert stepped(WRONG[name]) is None


def test_what_noise_hides_from_the_ladder_the_cauchy_riemann_equations_show():
    def noisy(x):
        return np.sin(x) + 1e-3 * np.conj(x) + (1e9 - 1e9 * np.cos(x * 0)) + 1e7 - 1e7

    assert stepped(noisy, effort=0) is None


def refuses(x):
    if x.dtype.kind == "c":
        raise TypeError("real numbers only")
    return np.sin(x)


def warns(x):
    if x.dtype.kind == "c":
        warnings.warn("the imaginary part is left out", stacklevel=1)
    return np.sin(x)


@pytest.mark.parametrize("function", [refuses, warns], ids=["raises", "warns"])
def test_a_function_that_refuses_complex_numbers_is_refused(function):
    assert stepped(function) is None


def test_an_output_at_a_kink_is_unknown_and_the_others_are_not():
    found = stepped(lambda x: np.where(x.real > 0, x, 0 * x) + np.sin(x), np.array([0.0, 1.0, -2.0]))
    assert np.isfinite(found.error).tolist() == [False, True, True]
