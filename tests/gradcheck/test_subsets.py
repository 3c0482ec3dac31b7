"""``each_subset_gets_its_gradients`` passes right functions and fails what depends on the other inputs' requests."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.subsets import _subsets, each_subset_gets_its_gradients
from gradcheck.failures import Unsupported
from tests.gradcheck.adapters import adapter_fixture, library_functions, subject

__all__ = ["adapter_fixture"]

X = np.array([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5], [1.0, -1.0, 2.0]])
Y = np.array([[0.5, 0.0, 1.0], [-1.0, 2.0, 0.25], [0.75, -0.25, 3.0]])


def product(adapter, backward):
    """``x @ y`` with a backward pass that looks at ``needs_input_grad``."""

    class Product(adapter.library.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x @ y

    Product.backward = staticmethod(backward)
    return Product.apply


def right(ctx, g):
    x, y = ctx.saved_tensors
    return g @ y.mT if ctx.needs_input_grad[0] else None, x.mT @ g if ctx.needs_input_grad[1] else None


def wrong_slot(ctx, g):
    x, y = ctx.saved_tensors
    found = [g @ y.mT] if ctx.needs_input_grad[0] else []
    found += [x.mT @ g] if ctx.needs_input_grad[1] else []
    return tuple(found + [None] * (2 - len(found)))


def left_over_variable(ctx, g):
    x, y = ctx.saved_tensors
    if ctx.needs_input_grad[0]:
        first = g @ y.mT
        turned = x.mT
    return first if ctx.needs_input_grad[0] else None, turned @ g


def wrong_flag(ctx, g):
    x, y = ctx.saved_tensors
    return g @ y.mT, x.mT @ g if ctx.needs_input_grad[0] else None


def test_a_backward_that_computes_what_is_asked_agrees(adapter):
    outcome = each_subset_gets_its_gradients(subject(adapter, product(adapter, right), X, Y))
    assert (outcome.verdict, outcome.vacuous) == ("agree", False), outcome.finding


@pytest.mark.parametrize("backward", [wrong_slot, wrong_flag, left_over_variable])
def test_a_backward_that_mixes_up_what_is_asked_disagrees(adapter, backward):
    outcome = each_subset_gets_its_gradients(subject(adapter, product(adapter, backward), X, Y))
    assert outcome.verdict == "disagree"
    assert outcome.finding.code == "GC603"
    assert "where only x1 requires grad" in outcome.finding.detail


def test_a_backward_that_raises_says_so(adapter):
    finding = each_subset_gets_its_gradients(subject(adapter, product(adapter, left_over_variable), X, Y)).finding
    assert "the backward pass raised UnboundLocalError" in finding.detail
    assert finding.evidence.way == "raised"
    assert finding.evidence.differentiable == (True, True)
    assert finding.evidence.subset == (False, True)


def test_a_gradient_that_is_none_says_so(adapter):
    finding = each_subset_gets_its_gradients(subject(adapter, product(adapter, wrong_flag), X, Y)).finding
    assert finding.detail == "where only x1 requires grad, the gradient of x1 is None"
    assert finding.evidence.position == 1


def test_functions_of_the_engine_agree(adapter):
    outcome = each_subset_gets_its_gradients(subject(adapter, library_functions(adapter).product, X, Y))
    assert outcome.verdict == "agree"


def test_one_input_is_vacuous(adapter):
    assert each_subset_gets_its_gradients(subject(adapter, lambda x: x * x, X)).vacuous


def test_nan_is_inconclusive(adapter):
    outcome = each_subset_gets_its_gradients(subject(adapter, lambda x, y: x * y * float("nan"), X, Y))
    assert outcome.reason == "not finite"


def test_a_backward_that_always_raises_is_left_to_the_first_claim(adapter):
    def broken(ctx, g):
        raise KeyError("x")

    with pytest.raises(Unsupported, match="raises KeyError where all inputs require grad"):
        each_subset_gets_its_gradients(subject(adapter, product(adapter, broken), X, Y))


def test_few_inputs_give_every_proper_subset_once():
    found = list(_subsets((0, 1, 3), np.random.default_rng(0)))
    assert found == [(0,), (1,), (3,), (0, 1), (0, 3), (1, 3)]


def test_many_inputs_give_each_alone_each_left_out_and_some_others():
    whole = tuple(range(7))
    found = list(_subsets(whole, np.random.default_rng(0)))
    assert found[:7] == [(k,) for k in whole]
    assert {len(chosen) for chosen in found[7:14]} == {6}
    assert len(found) == 17
    assert all(1 < len(chosen) < 7 for chosen in found[14:])
