"""``gradients_accumulate`` and ``graphs_do_not_interfere`` pass right functions and fail shared state."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.graph import gradients_accumulate, graphs_do_not_interfere
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
BOTH = pytest.mark.parametrize("claim", [gradients_accumulate, graphs_do_not_interfere])


@BOTH
@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_agree(adapter, claim, name):
    outcome = claim(subject(adapter, getattr(library_functions(adapter), name), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


@BOTH
def test_a_constant_function_is_vacuous(adapter, claim):
    assert claim(subject(adapter, lambda x: x * 0.0, X)).vacuous


@BOTH
def test_nan_is_inconclusive(adapter, claim):
    assert claim(subject(adapter, lambda x: x * float("nan"), X)).reason == "not finite"


@BOTH
def test_an_unconnected_input_counts_as_zero(adapter, claim):
    assert claim(subject(adapter, lambda x, y: x * 2.0, X, X)).verdict == "agree"


def test_a_backward_that_forgets_after_its_first_run_disagrees(adapter):
    class Forgetful(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.factor = 2.0
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            factor, ctx.factor = ctx.factor, 0.0
            return g * factor

    outcome = gradients_accumulate(subject(adapter, Forgetful.apply, X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC601"
    assert "second backward" in outcome.finding.detail


def test_gradients_that_gather_in_a_buffer_disagree(adapter):
    buffer = []

    def forward(x):
        buffer.clear()
        return x * 2.0

    def backward(g, x):
        buffer.append(g * 2.0)
        return sum(buffer[1:], buffer[0])

    outcome = gradients_accumulate(subject(adapter, function(adapter, forward, backward), X))
    assert outcome.verdict == "disagree"
    assert "second backward" in outcome.finding.detail


def test_a_function_that_remembers_only_its_last_call_disagrees(adapter):
    last = []

    def forward(x):
        last[:] = [x.detach() * 1.0]
        return x * x

    wrong = function(adapter, forward, lambda g: 2.0 * g * last[0], saves=False)
    outcome = graphs_do_not_interfere(subject(adapter, wrong, X))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC602"
    assert "the first" in outcome.finding.detail
