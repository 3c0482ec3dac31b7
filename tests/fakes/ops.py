"""Functions of a user's, for runs of pytest inside a test: `tests.fakes.functions` goes by their names."""

from __future__ import annotations

import refengine as re


class Right(re.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Wrong(Right):
    pass


class WrongToo(Right):
    pass


class Odd(Right):
    pass


class Round(Right):
    pass


class Unused(Right):
    pass


class Raises(Right):
    pass


class Exits(Right):
    pass


class Once(Right):
    pass


def call(function=Wrong, size=2):
    return function.apply(re.tensor([0.5] * size, requires_grad=True))
