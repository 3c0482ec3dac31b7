"""GC604 on both engines: some outputs used, the others not."""

from __future__ import annotations

import numpy as np

from gradcheck.checks.unused import unused_outputs_count_as_zero
from gradcheck.verdict import Verdict
from tests.gradcheck.adapters import adapter_fixture, library_functions, subject

__all__ = ["adapter_fixture"]

POINT = np.array([[0.5, -1.0], [2.0, 0.25]])


def functions(adapter, branch):
    """``apply`` of sine and cosine; `branch` is the backward where the cosine is not used."""

    class Made(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x.sin(), x.cos()

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            if h is None:
                return branch(g, x)
            return -h * x.sin() if g is None else g * x.cos() - h * x.sin()

    return Made.apply


def test_a_right_branch_agrees(adapter):
    outcome = unused_outputs_count_as_zero(subject(adapter, functions(adapter, lambda g, x: g * x.cos()), POINT))
    assert outcome.verdict is Verdict.AGREE
    assert not outcome.vacuous


def test_a_wrong_branch_is_found_with_its_entry(adapter):
    outcome = unused_outputs_count_as_zero(subject(adapter, functions(adapter, lambda g, x: g * x.sin()), POINT))
    assert outcome.verdict is Verdict.DISAGREE
    assert "where only output 0 is used" in outcome.finding.detail
    assert outcome.finding.analytic != outcome.finding.numeric


def test_a_branch_that_raises_is_found(adapter):
    outcome = unused_outputs_count_as_zero(subject(adapter, functions(adapter, lambda g, x: g + None), POINT))
    assert outcome.verdict is Verdict.DISAGREE
    assert "raised TypeError" in outcome.finding.detail


def test_outputs_of_an_engines_own_ops_agree_and_one_output_is_vacuous(adapter):
    own = library_functions(adapter)
    assert unused_outputs_count_as_zero(subject(adapter, own.two, POINT)).verdict is Verdict.AGREE
    assert unused_outputs_count_as_zero(subject(adapter, own.square, POINT)).vacuous
