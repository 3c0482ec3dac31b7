"""A wrong gradient's pattern is named where it is simple, and nothing is made up where it is not."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.checks import default_claims
from gradcheck.diagnose import diagnose
from gradcheck.mistake import Mistake
from gradcheck.verdict import Outcome, Verdict
from tests.gradcheck.adapters import adapter_fixture, function, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5], [0.25, -1.0, 1.5]])


def diagnosed(adapter, forward, backward, *inputs):
    """What is said of a wrong backward at `inputs`."""
    case = subject(adapter, function(adapter, forward, backward), *inputs)
    return diagnose(case, claim.check(case))


claim = default_claims().get("GC101")


@pytest.mark.parametrize(
    ("backward", "mistake", "expected"),
    [
        (lambda g, x: g * x, Mistake.FACTOR, "the gradient of x0 is 0.5 times the right one everywhere"),
        (lambda g, x: -2.0 * g * x, Mistake.SIGN, "the gradient of x0 is -1 times the right one everywhere"),
        (
            lambda g, x: (2.0 * g * x).transpose(0, 1),
            Mistake.TRANSPOSED,
            "the gradient of x0 is the transpose of the right one",
        ),
        (lambda g, x: 0.0 * g * x, Mistake.ZERO, "the gradient of x0 is 0 everywhere"),
        (lambda g, x: 2.0 * g.abs() * x, Mistake.COTANGENT, "the gradient of x0 ignores the cotangent's sign"),
        (lambda g, x: 2.0 * x, Mistake.COTANGENT, "the gradient of x0 is the same for every cotangent"),
        (lambda g, x: 2.0 * g * x + g * x * x * x, Mistake.TERM, ""),
        (
            lambda g, x: 2.0 * g * x.abs(),
            Mistake.REGION,
            "the gradient of x0 is wrong for values below 0, right for values from 0.5 to 1.5",
        ),
        (
            lambda g, x: 2.0 * g * x + g * (x == 0.5),
            Mistake.SPECIAL,
            "the gradient of x0 is right for other values nearby, wrong for exact zeros",
        ),
    ],
    ids=["factor", "sign", "transposed", "zero", "absolute", "constant", "term", "region", "special"],
)
def test_the_mistake_is_named(adapter, backward, mistake, expected):
    found = diagnosed(adapter, lambda x: x * x, backward, X)
    assert (found.mistake, found.text) == (mistake, expected)


@pytest.mark.parametrize(
    ("backward", "expected"),
    [
        (lambda g, x: g * x, "7 of 9 entries of the gradient of x0: [0, 1], [0, 2], [1, 0], [1, 2] and 3 more"),
        (lambda g, x: 2.0 * g * x + g, "9 of 9 entries of the gradient of x0"),
        (lambda g, x: 2.0 * g * x + g * (x > 1.0), "3 of 9 entries of the gradient of x0: [0, 1], [1, 0], [2, 2]"),
        (lambda g, x: 2.0 * g * x + g * (x == 3.0), ""),
    ],
    ids=["but zeros", "all", "some", "one"],
)
def test_the_entries_that_are_wrong_are_counted(adapter, backward, expected):
    assert diagnosed(adapter, lambda x: x * x, backward, X).extent == expected


def test_of_many_entries_a_few_are_looked_at(adapter):
    found = diagnosed(adapter, lambda x: x * x, lambda g, x: g * x, np.linspace(0.5, 2.0, 2000).reshape(40, 50))
    text = "65 of 65 entries of the gradient of x0 (65 of 2,000 were looked at): [0, 0], [0, 31], [1, 13], [1, 45]"
    assert found.extent == f"{text} and 61 more"


def test_each_input_with_wrong_entries_is_counted(adapter):
    found = diagnosed(adapter, lambda x, y: x * y, lambda g, x, y: (g * x, g * y), X + 0.3, 2.0 - X)
    assert found.extent == "9 of 9 entries of the gradient of x0; 9 of 9 entries of the gradient of x1"


def test_a_gradient_wrong_on_one_side_of_a_special_value_is_wrong_in_a_region(adapter):
    found = diagnosed(adapter, lambda x: x.exp(), lambda g, x: g * x.exp() * (x > 0.0), np.array([0.0, 1.0, 2.0]))
    assert found.mistake is Mistake.REGION


def test_a_factor_at_one_entry_alone_is_no_factor(adapter):
    mask = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    found = diagnosed(
        adapter, lambda x: x * x, lambda g, x: 2.0 * g * x * adapter.tensor(mask)[: x.shape[0], : x.shape[1]], X
    )
    assert found.mistake is Mistake.ENTRY
    assert "1 of 9 entries" in found.text


def test_inputs_whose_gradients_are_swapped_are_named(adapter):
    found = diagnosed(adapter, lambda x, y: x * y, lambda g, x, y: (g * x, g * y), X + 0.3, 2.0 - X)
    assert (found.mistake, found.text) == (Mistake.SWAPPED, "the gradient of x0 is that of x1")


def test_a_broadcast_axis_that_is_not_summed_is_named(adapter):
    found = diagnosed(adapter, lambda x, b: x * b, lambda g, x, b: (g * b, (g * x)[0]), X + 0.3, X[0] + 0.7)
    assert found.mistake is Mistake.BROADCAST
    assert found.text == "the gradient of x1 uses one place of the output's axis 0 only"


def test_a_factor_that_is_the_number_of_rows_is_said_to_be_it(adapter):
    found = diagnosed(
        adapter,
        lambda x, b: x * b,
        lambda g, x, b: (g * b, (g * x).sum(0) * (1.0 / x.shape[0])),
        np.ones((5, 3)) + X[0],
        X[1] + 0.7,
    )
    assert found.mistake is Mistake.FACTOR
    assert found.text.startswith("the gradient of x1 is 0.2 times the right one everywhere: one over the number of ")


def test_a_gradient_that_is_zero_beyond_a_size_is_wrong_for_the_size(adapter):
    mask = np.where(np.arange(100) < 16, 1.0, 0.0)
    found = diagnosed(
        adapter,
        lambda x: x * x,
        lambda g, x: 2.0 * g * x * adapter.tensor(mask)[: x.shape[0]],
        np.linspace(0.3, 2.1, 40),
    )
    assert (found.mistake, found.text) == (
        Mistake.SIZE,
        "the gradient of x0 is wrong for shape (40,), right for (2,)",
    )


def test_where_a_step_crosses_a_jump_nothing_is_named(adapter):
    case = subject(
        adapter,
        function(adapter, lambda x: x * x + (x > 2e-6) * 1.0, lambda g, x: 2.0 * g * x + g),
        np.array([1e-6, 1.5e-6]),
    )
    assert diagnose(case, Outcome(Verdict.AGREE)).mistake is None


def test_a_function_that_raises_beside_its_point_is_diagnosed_by_its_claim(adapter):
    def forward(x):
        if float(x.sum()) != X.sum():
            raise ValueError("not made for it")
        return x * x

    case = subject(adapter, function(adapter, forward, lambda g, x: 2.0 * g * x), X)
    right = subject(adapter, function(adapter, lambda x: x * x, lambda g, x: g * x), X)
    assert diagnose(case, claim.check(right)).text == ""


def test_the_report_of_check_says_it(adapter):
    wrong = function(adapter, lambda x: x * x, lambda g, x: g * x)
    report = gradcheck.check(wrong, adapter.tensor(X))
    assert report.failures[0].detail.startswith("the gradient of x0 is 0.5 times the right one everywhere; ")
    assert report.failures[0].mistake is Mistake.FACTOR
    assert "likely    off by a constant factor" in str(report)


def test_a_factor_that_depends_on_the_size_is_said_to_be_a_size(adapter):
    wrong = function(adapter, lambda x: x.mean(), lambda g, x: g * adapter.tensor(np.ones(tuple(x.shape))))
    report = gradcheck.check(wrong, adapter.tensor(X))
    assert report.failures[0].detail.startswith(
        "the gradient of x0 is 9 times the right one everywhere: the number of entries; "
    )
