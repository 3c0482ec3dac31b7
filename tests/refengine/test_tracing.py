"""Calls of ops are listed, those of composed ops and of a Function's forward as the ops that they are made of."""

from __future__ import annotations

import numpy as np

import refengine as re
from refengine.autograd import Function, forward_ad
from refengine.autograd.tracing import traced
from refengine.state import state

X = re.tensor([[0.5, -1.0], [2.0, 3.0]], requires_grad=True)


def names(calls):
    return [call.op.name for call in calls.listed]


def test_calls_are_listed_in_order_with_operands_and_result():
    with traced() as calls:
        y = X.exp()
        z = y * 2.0 + X
    assert names(calls) == ["exp", "mul", "add"]
    first, second, third = calls.listed
    assert first.operands == (X,)
    assert (first.result, second.operands) == (y, (y, 2.0))
    assert third.result is z
    assert calls.is_pure


def test_they_can_be_run_again_with_other_operands():
    with traced() as calls:
        X.sum(dim=0, keepdim=True)
    (call,) = calls.listed
    again = call.op.run((re.ones(2, 2),), call.bound)
    np.testing.assert_array_equal(again.numpy(), [[2.0, 2.0]])


def test_outside_of_the_block_nothing_is_listed_and_nothing_is_left_behind():
    with traced() as calls:
        pass
    X.exp()
    assert not calls.listed
    assert (state.calls, state.intercept) == (None, 0)


def test_a_block_inside_of_another_lists_its_own():
    with traced() as outer:
        X.exp()
        with traced() as inner:
            X.sin()
        X.cos()
    assert (names(outer), names(inner)) == (["exp", "cos"], ["sin"])


class Squared(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2.0 * g * x


def test_a_function_s_forward_and_backward_are_seen_and_its_gradient_is_the_same():
    with traced() as calls:
        y = Squared.apply(X)
    assert names(calls) == ["mul"]
    with traced() as calls:
        (g,) = re.autograd.grad(y.sum(), X)
    assert "mul" in names(calls)
    np.testing.assert_array_equal(g.numpy(), 2.0 * X.detach().numpy())


def test_what_writes_to_a_tensor_or_pushes_tangents_is_not_pure():
    with traced() as calls:
        X.exp().mul_(2.0)
    assert not calls.is_pure
    with forward_ad.dual_level(), traced() as calls:
        dual = forward_ad.make_dual(X.detach(), re.ones(2, 2))
        tangent = forward_ad.unpack_dual(dual.exp()).tangent
    assert not calls.is_pure
    np.testing.assert_allclose(tangent.numpy(), np.exp(X.detach().numpy()), rtol=1e-6)
