"""Mistakes in what a rule does that every engine can make: precision, sizes, modes, randomness, linearity."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.mistake import Mistake
from tests.planted.formulas import MATRIX, OTHER, ROW
from tests.planted.mistake import Rules


def connections(rules: Rules) -> None:
    """What backward says of an input by returning None."""
    lib = rules.library
    x, y = lib.tensor(MATRIX), lib.tensor(OTHER)
    rules.rule("None for an input", "multi-output and None", lambda x, y: x * y, lambda g, x, y: (g * y, None),
               lambda g, x, y: (g * y, g * x), "GC101", Mistake.ZERO, (x, y))  # fmt: skip


def precision(rules: Rules) -> None:
    """Fewer digits than the inputs have, or another formula for float32."""
    lib = rules.library
    double = lib.tensor(MATRIX, dtype=lib.float64)
    single = lib.tensor(MATRIX, dtype=lib.float32)
    sine = (lambda x: x.sin()), (lambda g, x: g * x.cos())
    rules.rule("float32 in backward", "dtype", sine[0], lambda g, x: (g.float() * x.float().cos()).to(g.dtype), sine[1],
               "GC701 GC101", Mistake.PRECISION, (double,))  # fmt: skip
    rules.rule("float32 constant", "dtype", lambda x: x * 0.1,
               lambda g, x: (g * lib.tensor(0.1, dtype=lib.float32).to(g.dtype)), lambda g, x: g * 0.1,
               "GC101", Mistake.FACTOR, (double,))  # fmt: skip
    rules.rule(
        "float32 path", "dtype", lambda x: x * x, lambda g, x: (g if x.dtype == lib.float32 else 2 * g) * x,
        lambda g, x: 2 * g * x, "GC702 GC101", Mistake.PRECISION, (single,),
    )  # fmt: skip


def sizes(rules: Rules) -> None:
    """Empty inputs, single rows, scalars."""
    lib = rules.library
    x, row = lib.tensor(MATRIX), lib.tensor(ROW)
    if rules.is_eager:
        rules.rule(
            "rows stacked", "empty and 0-d inputs", lambda x: x.sum(0), lambda g, x: lib.stack([g for _ in x]),
            lambda g, x: g.expand(x.shape).clone(), "GC101", Mistake.FORM, (x,),
        )  # fmt: skip
    rules.rule(
        "axes of size 1 squeezed", "empty and 0-d inputs", lambda x: x.exp(), lambda g, x: (g * x.exp()).squeeze(),
        lambda g, x: g * x.exp(), "GC101", Mistake.FORM, (x,),
    )  # fmt: skip
    rules.rule(
        "scalars taken for constants", "empty and 0-d inputs", lambda x: x * x,
        lambda g, x: 2 * g * x if x.ndim else None, lambda g, x: 2 * g * x, "GC101", Mistake.ZERO, (row,),
    )  # fmt: skip


def modes(rules: Rules) -> None:
    """Right in one mode of the function."""
    lib = rules.library
    x = lib.tensor(MATRIX)
    if not rules.is_eager:
        return
    rules.rule(
        "rule of evaluation in training", "modes",
        lambda x, training: x - x.mean(0, keepdim=True) if training else x - 0.5, lambda g, x, training: (g.clone(),),
        lambda g, x, training: (g - g.mean(0, keepdim=True) if training else g.clone(),),
        "GC101", Mistake.TERM, (x, True),
    )  # fmt: skip
    rules.rule(
        "training rule in evaluation", "modes", lambda x, training: x * 4 if training else x * 2,
        lambda g, x, training: (4 * g,), lambda g, x, training: (4 * g if training else 2 * g,),
        "GC101", Mistake.FACTOR, (x, False),
    )  # fmt: skip


def randomness(rules: Rules) -> None:
    """Not twice the same."""
    lib = rules.library
    x = lib.tensor(MATRIX)
    numbers = np.random.default_rng()

    def in_any_order(g: Any, x: Any) -> Any:
        order = [int(k) for k in numbers.permutation(16)]
        total = lib.zeros_like(x)
        for k in order:
            total = total + 0.1 * k * g * x.cos()
        return total / 12.0

    rules.rule("sum in a random order", "non-determinism", lambda x: x.sin(), in_any_order, lambda g, x: g * x.cos(),
               "GC605", Mistake.RANDOM, (x,))  # fmt: skip
    calls = [0]

    def drifting(g: Any, x: Any) -> Any:
        calls[0] += 1
        return g * x.cos() * (1 + 1e-9 * calls[0])

    rules.rule("a count of calls", "non-determinism", lambda x: x.sin(), drifting, lambda g, x: g * x.cos(),
               "GC605", Mistake.RANDOM, (x,))  # fmt: skip


def linearity(rules: Rules) -> None:
    """The cotangent is used, but not linearly."""
    lib = rules.library
    x = lib.tensor(MATRIX)
    square = (lambda x: x * x), (lambda g, x: 2 * g * x)
    for name, wrong in (
        ("absolute cotangent", lambda g, x: 2 * g.abs() * x),
        ("ones for the cotangent", lambda g, x: 2 * x),
        ("sign of the cotangent", lambda g, x: 2 * g.sign() * x),
        ("small cotangents dropped", lambda g, x: lib.where(g.abs() < 1e-3, lib.zeros_like(g), 2 * g * x)),
        ("positive cotangents only", lambda g, x: 2 * g.relu() * x),
    ):
        rules.rule(name, "linearity in the cotangent", square[0], wrong, square[1],
                   "GC101 GC103", Mistake.COTANGENT, (x,))  # fmt: skip


ALL = (connections, precision, sizes, modes, randomness, linearity)
