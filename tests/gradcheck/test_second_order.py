"""The gradient's own derivative: right engines agree, first gradients without history and wrong rules disagree."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks.claim import Subject
from gradcheck.checks.second_order import second_order_matches_numeric
from gradcheck.engines.registry import engine
from gradcheck.failures import Unsupported
from gradcheck.verdict import Verdict

torch = pytest.importorskip("torch")


def points(seed, *shape):
    return np.round(np.random.default_rng(seed).uniform(-3.0, 3.0, size=shape), 3)


def check(function, *inputs, salt=b""):
    subject = Subject(engine("torch"), function, inputs, (True,) * len(inputs), "f(x0)", salt=salt)
    return second_order_matches_numeric(subject)


class Sine(torch.autograd.Function):
    """The right one."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


class Detached(Sine):
    """Keeps a value, not a tensor: right at first order, a constant at second."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.detach().cos()


class NoHistory(Sine):
    """The first gradient has no history at all."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (g * x.cos()).detach()


class Backward(torch.autograd.Function):
    """The backward of `Chained` as a function of its own, with a wrong rule."""

    @staticmethod
    def forward(ctx, g, x):
        ctx.save_for_backward(g, x)
        return g * x.cos()

    @staticmethod
    def backward(ctx, h):
        g, x = ctx.saved_tensors
        return h * x.cos(), -h * g * x.sin() * (1 + 1e-5)


class Chained(Sine):
    """Right at first order, off by 1e-5 at second."""

    @staticmethod
    def backward(ctx, g):
        return Backward.apply(g, ctx.saved_tensors[0])


RIGHT = {
    "sine": (Sine.apply, [points(0, 3)]),
    "product": (torch.mul, [points(0, 2, 3), points(1, 3)]),
    "matmul": (torch.matmul, [points(0, 2, 3), points(1, 3, 2)]),
    "softmax": (lambda x: torch.softmax(x, -1), [points(0, 2, 3)]),
    "linear": (lambda x: 3 * x, [points(0, 3)]),
    "transposed": (lambda x: (x * x).sum(0), [points(0, 4, 3).T]),
    "expanded": (lambda x: x.exp().sum(0), [np.broadcast_to(points(0, 3), (2, 3))]),
    "relu at zero": (torch.relu, [np.array([0.0, 1.0, -2.0, 0.0])]),
    "saturated": (torch.tanh, [np.array([19.0, -19.0])]),
    "two outputs": (lambda x: (x.sin(), (x * x).sum()), [points(0, 3)]),
    "partly disconnected": (lambda x, y: x.sin(), [points(0, 3), points(1, 2)]),
    "scalar": (torch.exp, [np.array(0.3)]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_second_order_raises_no_alarm(name):
    function, inputs = RIGHT[name]
    assert check(function, *inputs).verdict is Verdict.AGREE


@pytest.mark.parametrize(
    "function", [Detached.apply, NoHistory.apply, Chained.apply], ids=["detached", "none", "wrong"]
)
@pytest.mark.parametrize("seed", range(3))
def test_wrong_second_order_disagrees(function, seed):
    found = check(function, points(seed, 3), salt=bytes([seed]))
    assert found.verdict is Verdict.DISAGREE
    assert found.finding.code == "GC104"


class TwiceOff(torch.autograd.Function):
    """The identity, right at first order; its second derivatives are off by a factor of 1.001."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return Factor.apply(g)


class Factor(torch.autograd.Function):
    """The identity with a wrong gradient."""

    @staticmethod
    def forward(ctx, g):
        return g.clone()

    @staticmethod
    def backward(ctx, h):
        return h * 1.001


# Some of the gradients are nothing but round-off there, or less than it: 1 - tanh(294)**2, exp(-729), y / y.
SCATTERED = {
    "tanh": (torch.tanh, [np.array([-15.3, 1.46, 293.8, 1.83, 34.1])]),
    "exp": (torch.exp, [np.array([-0.545, -91.7, -8.68, -728.7])]),
    "logsumexp": (lambda x: torch.logsumexp(x, 0), [np.array([300.2, 299.1, -80.0, 12.5])]),
    "beside a constant": (lambda x, y: (y / y).log1p() - x, [points(0, 6), np.array(1.6107)]),
    "stiff": (lambda x: torch.expm1(x * 20.0), [np.array([-1.3076, -0.7962, -1.2572, 0.9735])]),
}


@pytest.mark.parametrize("name", SCATTERED)
def test_a_gradient_of_round_off_alone_hides_no_mistake_in_the_others(name):
    function, inputs = SCATTERED[name]
    assert check(function, *inputs).verdict is Verdict.AGREE
    assert check(lambda *xs: function(*map(TwiceOff.apply, xs)), *inputs).verdict is Verdict.DISAGREE


class Once(Sine):
    """Refuses to be differentiated again, in a node that leads to no input."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


def test_a_function_that_refuses_is_unsupported():
    with pytest.raises(Unsupported, match="once_differentiable"):
        check(Once.apply, points(0, 3))


def test_nothing_to_differentiate_is_vacuous():
    assert check(torch.sin, np.zeros((0, 2))).vacuous
