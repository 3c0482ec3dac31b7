"""Source text of Functions as strangers write them: right ones, and each kind of mistake."""

from __future__ import annotations

import re


def named(source: str, name: str) -> str:
    """The same class under another name."""
    return re.sub(r"(?<=class )\w+", name, source, count=1)


def wrong(source: str, right: str, mistaken: str) -> str:
    """The same class with a mistake in it."""
    assert right in source
    return source.replace(right, mistaken)


CUBE = """
class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x
"""

SQUARE = """
class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x
"""
HALF_SQUARE = wrong(SQUARE, "g * 2 * x", "g * x")
"""Lacks a factor."""

SCALE = """
class Scale(Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None
"""

PRODUCT = """
class Product(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g
"""
TURNED_PRODUCT = wrong(PRODUCT, "x.T @ g", "g.T @ x")
"""One gradient is the transpose of the right one."""

DOUBLE = """
class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2
"""
IN_MEMORY = "torch.from_numpy(g.detach().numpy().ravel(order='K').copy()).reshape(g.shape)"
"""A cotangent read in the order of its memory, not of its axes."""
MEMORY_DOUBLE = wrong(DOUBLE, "g * 2", f"{IN_MEMORY} * 2")
"""Reads a strided cotangent as if it were contiguous."""
GREEDY_DOUBLE = wrong(DOUBLE, "g * 2", "g.mul_(2)")
"""Modifies its cotangent."""

NEW_CUBE = """
class NewCube(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x
"""

# A mismatch that declares itself ------------------------------------------------------------------------------------

SPIKE = """
class Spike(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / (1 + x.abs()) ** 2
"""
ROUND = """
class Round(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g
"""
REVERSAL = """
class Reversal(Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -g
"""
CLAMP = """
class Clamp(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(-1.0, 1.0)

    @staticmethod
    def backward(ctx, g):
        return g
"""
DELIBERATE = {"Spike": SPIKE, "Round": ROUND, "Reversal": REVERSAL, "Clamp": CLAMP}
"""By name."""

WIDE_RELU = """
class WideRelu(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x > -1)
"""
"""Meant, but nothing in it shows that."""
DECLARED_RELU = wrong(
    WIDE_RELU, "(Function):\n", '(Function):\n    __gradcheck_surrogate__ = "units that are off should learn too"\n\n'
)

# Sets of inputs -----------------------------------------------------------------------------------------------------

ENTROPY = """
class Entropy(Function):
    @staticmethod
    def forward(ctx, p):
        ctx.save_for_backward(p)
        return -(p * p.log()).sum(-1)

    @staticmethod
    def backward(ctx, g):
        (p,) = ctx.saved_tensors
        return -g.unsqueeze(-1) * p.log()  # the constant does not count: probabilities move with their sum kept
"""
SYMMETRIC_NORM = """
class SymmetricNorm(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        below = a.tril(-1)
        return 2 * (below * below).sum() + (a.diagonal() * a.diagonal()).sum()

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return 2 * g * a
"""

# Second order -------------------------------------------------------------------------------------------------------

NUMPY_CUBE = """
class NumpyCube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach().numpy()
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        return g * torch.from_numpy(3 * ctx.x * ctx.x)
"""
"""Right at first order; its second derivative is zero without a word."""


def call(function: str, *arguments: str, module: str = "ops") -> str:
    """A test that merely calls a Function."""
    given = ", ".join(arguments) or "torch.tensor([0.5, -1.5, 2.0], requires_grad=True)"
    return f"def test_{function.lower()}():\n    assert {module}.{function}.apply({given}) is not None\n"
