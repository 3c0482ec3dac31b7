"""Mistakes in a formula: factors, signs, terms, sums, single entries, regions, sizes, special values, overflow."""

from __future__ import annotations

from typing import Any

from gradcheck.mistake import Mistake
from tests.planted.mistake import Rules

MATRIX = [[0.7, -1.3, 2.1], [0.4, 1.9, -0.6]]
OTHER = [[1.1, 0.3, -0.8], [-1.7, 0.9, 1.4]]
SQUARE = [[0.7, -1.3, 2.1], [0.4, 1.9, -0.6], [1.2, -0.9, 0.5]]
OTHER_SQUARE = [[1.1, 0.3, -0.8], [-1.7, 0.9, 1.4], [0.6, -0.2, 1.3]]
ROW = [0.5, -1.5, 0.8]


def numeric(rules: Rules) -> None:
    """Wrong numbers everywhere."""
    lib = rules.library
    x, y = (lib.tensor(values) for values in (MATRIX, OTHER))
    group = "numeric"
    square = (lambda x: x * x), (lambda g, x: 2 * g * x)
    tanh = (lambda x: x.tanh()), (lambda g, x: g * (1 - x.tanh() ** 2))
    product = (lambda x, y: x * y), (lambda g, x, y: (g * y, g * x))
    rules.rule("factor", group, square[0], lambda g, x: g * x, square[1], "GC101", Mistake.FACTOR, (x,))
    rules.rule(
        "sign", group, lambda x: x.cos(), lambda g, x: g * x.sin(), lambda g, x: -g * x.sin(),
        "GC101", Mistake.SIGN, (x,),
    )  # fmt: skip
    rules.rule(
        "relative 1e-6", group, tanh[0], lambda g, x: (1 + 1e-6) * tanh[1](g, x), tanh[1],
        "GC101", Mistake.FACTOR, (x,),
    )  # fmt: skip
    rules.rule(
        "term forgotten", group, lambda x: x * x.exp(), lambda g, x: g * x.exp(), lambda g, x: g * (1 + x) * x.exp(),
        "GC101", Mistake.TERM, (x,),
    )  # fmt: skip
    rules.rule("swapped inputs", group, product[0], lambda g, x, y: (g * x, g * y), product[1],
               "GC101", Mistake.SWAPPED, (x, y))  # fmt: skip
    rules.rule("zero for an input", group, product[0], lambda g, x, y: (g * y, lib.zeros_like(y)), product[1],
               "GC101", Mistake.ZERO, (x, y))  # fmt: skip

    def without_last(g: Any, x: Any) -> Any:
        found = (2 * g * x).reshape(-1)
        if found.numel() > 1:
            found[-1] = 0.0
        return found.reshape(x.shape)

    rules.rule("last entry zeroed", group, square[0], without_last, square[1], "GC101", Mistake.ENTRY, (x,))

    def bell(g: Any, x: Any) -> Any:
        return -2 * g * x / (1 + x * x) ** 2

    def flushed(g: Any, x: Any) -> Any:
        found = bell(g, x)
        return lib.where(found.abs() < 1e-5, lib.zeros_like(found), found)

    rules.rule("tiny gradients zeroed", group, lambda x: 1 / (1 + x * x), flushed, bell,
               "GC101 GC103", Mistake.REGION, (x,))  # fmt: skip


def regions(rules: Rules) -> None:
    """Right for the numbers that a test has, wrong for others."""
    lib = rules.library
    x = lib.tensor(MATRIX)

    def silu(g: Any, x: Any) -> Any:
        s = x.sigmoid()
        return g * (s + x * s * (1 - s))

    def silu_short(g: Any, x: Any) -> Any:
        return lib.where(x > 3.0, g * x.sigmoid(), silu(g, x))

    rules.rule("shortcut for large values", "region", lambda x: x * x.sigmoid(), silu_short, silu,
               "GC101", Mistake.REGION, (x,))  # fmt: skip
    rules.rule(
        "wrong below -3", "region", lambda x: (x * x + 1).sqrt(),
        lambda g, x: g * lib.where(x < -3, x.abs(), x) / (x * x + 1).sqrt(), lambda g, x: g * x / (x * x + 1).sqrt(),
        "GC101", Mistake.REGION, (x,),
    )  # fmt: skip

    def cut(columns: int) -> Any:
        def backward(g: Any, x: Any) -> Any:
            found = 2 * g * x
            if x.ndim and x.shape[-1] > columns:
                found[..., columns:] = 0.0
            return found

        return backward

    for columns in (16, 64):
        rules.rule(f"only the first {columns} columns", "size", lambda x: x * x, cut(columns), lambda g, x: 2 * g * x,
                   "GC101", Mistake.SIZE, (x,))  # fmt: skip

    def block(g: Any, x: Any) -> Any:
        found = (2 * g * x).reshape(-1)
        if found.numel() > 1024:
            found[1024:] = 0.0
        return found.reshape(x.shape)

    rules.rule("one block of 1,024", "size", lambda x: x * x, block, lambda g, x: 2 * g * x,
               "GC101", Mistake.SIZE, (x,))  # fmt: skip


def special_values(rules: Rules) -> None:
    """Wrong at exact zeros and ties, where no random number falls."""
    lib = rules.library
    x = lib.tensor(MATRIX)

    def others(x: Any) -> Any:
        one = lib.ones_like(x[..., :1])
        before = lib.cat([one, x[..., :-1].cumprod(-1)], -1)
        after = lib.cat([one, x.flip(-1)[..., :-1].cumprod(-1)], -1).flip(-1)
        return before * after

    rules.rule(
        "product over a zero", "at exact zero", lambda x: x.prod(-1),
        lambda g, x: (g * x.prod(-1)).unsqueeze(-1) / x, lambda g, x: g.unsqueeze(-1) * others(x),
        "GC101", Mistake.SPECIAL, (x,),
    )  # fmt: skip

    def sinc(x: Any) -> Any:
        return lib.where(x == 0, lib.ones_like(x), x.sin() / lib.where(x == 0, lib.ones_like(x), x))

    def sinc_wrong(g: Any, x: Any) -> Any:
        return g * (x.cos() / x - x.sin() / (x * x))

    def sinc_right(g: Any, x: Any) -> Any:
        small = x.abs() < 1e-2
        safe = lib.where(small, lib.ones_like(x), x)
        series = -x / 3 + x**3 / 30 - x**5 / 840
        return g * lib.where(small, series, safe.cos() / safe - safe.sin() / (safe * safe))

    rules.rule("removable singularity", "at exact zero", sinc, sinc_wrong, sinc_right,
               "GC101", Mistake.SPECIAL, (x,))  # fmt: skip
    rules.rule(
        "masked at zero", "at exact zero", lambda x: (x + 1) ** 3,
        lambda g, x: lib.where(x == 0, lib.zeros_like(x), 3 * g * (x + 1) ** 2), lambda g, x: 3 * g * (x + 1) ** 2,
        "GC101", Mistake.SPECIAL, (x,),
    )  # fmt: skip

    def hits(x: Any) -> Any:
        return (x == x.amax(-1, keepdim=True)).to(x.dtype)

    rules.rule(
        "all of a tie", "at ties", lambda x: x.amax(-1), lambda g, x: g.unsqueeze(-1) * hits(x),
        lambda g, x: g.unsqueeze(-1) * hits(x) / hits(x).sum(-1, keepdim=True),
        "GC101 GC107", Mistake.SPECIAL, (x,),
    )  # fmt: skip


def sums(rules: Rules) -> None:
    """Reductions and broadcasting."""
    lib = rules.library
    x, row, square, other = (lib.tensor(values) for values in (MATRIX, ROW, SQUARE, OTHER_SQUARE))
    group = "reduction and broadcasting"

    def spread(g: Any, x: Any) -> Any:
        return g.unsqueeze(-1).expand(x.shape).clone()

    rules.rule("mean without its n", group, lambda x: x.mean(-1), spread, lambda g, x: spread(g, x) / x.shape[-1],
               "GC101", Mistake.FACTOR, (x,))  # fmt: skip
    rules.rule("sum over its n", group, lambda x: x.sum(-1), lambda g, x: spread(g, x) / x.shape[-1], spread,
               "GC101", Mistake.FACTOR, (x,))  # fmt: skip
    rules.rule(
        "bias from the first row", group, lambda x, b: x * b, lambda g, x, b: (g * b, (g * x)[0]),
        lambda g, x, b: (g * b, (g * x).sum(0)), "GC101", Mistake.BROADCAST, (x, row),
    )  # fmt: skip
    rules.rule(
        "bias averaged", group, lambda x, b: x * b, lambda g, x, b: (g * b, (g * x).mean(0)),
        lambda g, x, b: (g * b, (g * x).sum(0)), "GC101", Mistake.FACTOR, (x, row),
    )  # fmt: skip
    rules.rule(
        "transposed", group, lambda x, w: x @ w, lambda g, x, w: (g @ w.T, g.T @ x),
        lambda g, x, w: (g @ w.T, x.T @ g), "GC101", Mistake.TRANSPOSED, (square, other),
    )  # fmt: skip
    rules.rule(
        "spread along the other axis", group, lambda x: x.sum(-1), lambda g, x: g.unsqueeze(0).expand(x.shape).clone(),
        spread, "GC101", Mistake.TRANSPOSED, (square,),
    )  # fmt: skip

    def softmax(g: Any, x: Any) -> Any:
        out = lib.softmax(x, -1)
        return out * (g - (g * out).sum(-1, keepdim=True))

    rules.rule("softmax without its sum", group, lambda x: lib.softmax(x, -1), lambda g, x: lib.softmax(x, -1) * g,
               softmax, "GC101", Mistake.TERM, (x,))  # fmt: skip
    rules.rule(
        "mean held constant", group, lambda x: x - x.mean(-1, keepdim=True), lambda g, x: g.clone(),
        lambda g, x: g - g.mean(-1, keepdim=True), "GC101", Mistake.TERM, (x,),
    )  # fmt: skip


def overflow(rules: Rules) -> None:
    """Finite functions with gradients that are not, for large numbers."""
    lib = rules.library
    x = lib.tensor(MATRIX)

    def logistic(g: Any, x: Any) -> Any:
        s = x.sigmoid()
        return g * s * (1 - s)

    rules.rule("logistic by exponentials", "overflow", lambda x: x.sigmoid(),
               lambda g, x: g * x.exp() / (1 + x.exp()) ** 2, logistic,
               "GC101", Mistake.OVERFLOW, (x,))  # fmt: skip
    rules.rule(
        "logsumexp by exponentials", "overflow", lambda x: x.logsumexp(-1),
        lambda g, x: g.unsqueeze(-1) * x.exp() / x.exp().sum(-1, keepdim=True),
        lambda g, x: g.unsqueeze(-1) * lib.softmax(x, -1), "GC101", Mistake.OVERFLOW, (x,),
    )  # fmt: skip


ALL = (numeric, regions, special_values, sums, overflow)
