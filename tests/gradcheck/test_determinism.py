"""GC605 on both engines: repeated passes, repeated backward passes, and what is granted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck.checks.determinism import passes_repeat
from gradcheck.verdict import Verdict
from tests.gradcheck.adapters import adapter_fixture, function, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])


def scattered(adapter):
    """A backward whose last bits change from run to run, as those of a race do."""
    calls = [0]

    def backward(g, x):
        calls[0] += 1
        return 2.0 * g * x * (1.0 + 1e-13 * calls[0])

    return function(adapter, lambda x: x * x, backward)


@pytest.mark.parametrize("name", ["square", "sums", "softmax", "view", "two"])
def test_right_functions_repeat(adapter, name):
    outcome = passes_repeat(subject(adapter, getattr(library_functions(adapter), name), X))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


def test_random_numbers_from_the_same_state_are_the_same(adapter):
    library = adapter.library

    def noisy(x):
        library.manual_seed(3)
        return x * library.rand(x.shape)

    assert passes_repeat(subject(adapter, noisy, X)).verdict is Verdict.AGREE


def test_last_bits_that_change_are_found_with_how_far_they_move(adapter):
    outcome = passes_repeat(subject(adapter, scattered(adapter), X))
    assert outcome.verdict is Verdict.DISAGREE
    assert outcome.finding.code == "GC605"
    assert "nondet_tol" in outcome.finding.detail


def test_what_nondet_tol_grants_is_no_disagreement(adapter):
    asked = replace(subject(adapter, scattered(adapter), X), nondet_tol=1e-9)
    assert passes_repeat(asked).verdict is Verdict.AGREE


def test_a_forward_that_counts_its_calls_is_found_as_such(adapter):
    calls = [0]

    def forward(x):
        calls[0] += 1
        return x * float(calls[0])

    outcome = passes_repeat(subject(adapter, function(adapter, forward, lambda g, x: g), X))
    assert outcome.finding.evidence.way == "forward"
    assert outcome.finding.evidence.output == 0


def test_a_backward_that_uses_up_what_was_saved_is_found_on_its_second_run(adapter):
    class Consuming(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.twice = 2.0 * x
            return x * x

        @staticmethod
        def backward(ctx, g):
            return ctx.twice.mul_(g)

    outcome = passes_repeat(subject(adapter, Consuming.apply, X))
    assert outcome.finding.evidence.way == "later backward"
    assert outcome.finding.entry is not None


def test_a_backward_that_refuses_to_run_twice_is_no_mistake(adapter):
    class Once(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach()
            return x * x

        @staticmethod
        def backward(ctx, g):
            x = ctx.x
            del ctx.x
            return 2.0 * g * x

    assert passes_repeat(subject(adapter, Once.apply, X)).verdict is Verdict.AGREE


def test_a_nan_that_repeats_is_the_same_number(adapter):
    assert passes_repeat(subject(adapter, lambda x: x * float("nan"), X)).verdict is Verdict.AGREE


def test_where_passes_do_not_repeat_nothing_else_is_judged(adapter):
    library = adapter.library
    report = gradcheck.check(scattered(adapter), library.tensor(X.tolist()), nondet_tol=1e-16)
    assert {finding.code for finding in report.failures} == {"GC605"}
    assert any("not deterministic" in line for line in report.inconclusive)


def test_nondet_tol_is_granted_by_check(adapter):
    library = adapter.library
    report = gradcheck.check(scattered(adapter), library.tensor(X.tolist()), claims="GC605", nondet_tol=1e-9)
    assert report.ok, report
