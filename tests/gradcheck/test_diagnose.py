"""A wrong gradient's pattern is named where it is simple, and nothing is made up where it is not."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.diagnose import diagnose
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5], [0.25, -1.0, 1.5]])


@pytest.mark.parametrize(
    ("backward", "expected"),
    [
        (lambda g, x: g * x, "the gradient of x0 is 0.5 times the right one everywhere"),
        (lambda g, x: -2.0 * g * x, "the gradient of x0 is -1 times the right one everywhere"),
        (lambda g, x: (2.0 * g * x).transpose(0, 1), "the gradient of x0 is the transpose of the right one"),
        (lambda g, x: 0.0 * g * x, "the gradient of x0 is 0 everywhere"),
        (lambda g, x: 2.0 * g * x * (x > 0.0), "the gradient of x0 is 0 at 2 of 9 entries where it should not be"),
        (lambda g, x: 2.0 * g * x + x, ""),
        (lambda g, x: 2.0 * g * x, ""),
    ],
    ids=["factor", "sign", "transposed", "zero", "zeroed", "no-pattern", "right"],
)
def test_the_pattern_is_named(adapter, backward, expected):
    assert diagnose(subject(adapter, function(adapter, lambda x: x * x, backward), X)) == expected


def test_a_large_input_is_not_differenced(adapter):
    wrong = function(adapter, lambda x: x * x, lambda g, x: g * x)
    assert diagnose(subject(adapter, wrong, np.ones((10, 10)))) == ""


def test_where_a_step_crosses_a_jump_nothing_is_named(adapter):
    case = subject(
        adapter,
        function(adapter, lambda x: x * x + (x > 2e-6) * 1.0, lambda g, x: 2.0 * g * x + g),
        np.array([1e-6, 1.5e-6]),
    )
    assert diagnose(case) == ""


def test_the_report_of_check_says_it(adapter):
    wrong = function(adapter, lambda x: x * x, lambda g, x: g * x)
    report = gradcheck.check(wrong, adapter.tensor(X))
    assert report.failures[0].detail.startswith("the gradient of x0 is 0.5 times the right one everywhere; ")


def test_a_factor_that_depends_on_the_size_is_said_to_be_that_of_the_input_given(adapter):
    wrong = function(adapter, lambda x: x.mean(), lambda g, x: g * adapter.tensor(np.ones(tuple(x.shape))))
    report = gradcheck.check(wrong, adapter.tensor(X))
    assert report.failures[0].detail.startswith(
        "the gradient of x0 is 9 times the right one everywhere at the input given; "
    )
