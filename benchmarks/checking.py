"""A checking benchmark: one default check of a ten-op function of 100 numbers, against torch.autograd.gradcheck.

Both look at the same PyTorch function in float64. PyTorch's checker (slow mode, its default) differentiates it once for
each input and each output; ours runs every claim that applies to a function, second order included, so the comparison
is also made against PyTorch's two checkers together.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Benchmark

SIZE = 100


def composite(x: Any) -> Any:
    """Ten ops on an array of `SIZE` numbers, smooth everywhere; the result has `SIZE` numbers too."""
    rows = x.sin().reshape(10, 10)
    mixed = (rows @ rows.transpose(0, 1)).tanh()
    return ((mixed * rows).exp() + rows.cos()).log_softmax(1).reshape(SIZE)


def benchmark() -> Benchmark:
    """The comparison; raises where one of the checkers does not accept the function."""
    import torch

    import gradcheck

    torch.set_num_threads(1)
    point = torch.linspace(-1.0, 1.0, SIZE, dtype=torch.float64)
    leaf = point.clone().requires_grad_()

    def first_order() -> bool:
        return torch.autograd.gradcheck(composite, (leaf,))

    def both_orders() -> bool:
        return first_order() and torch.autograd.gradgradcheck(composite, (leaf,))

    def ours() -> bool:
        return bool(gradcheck.check(composite, point).ok)

    works = {
        "torch.autograd.gradcheck": first_order,
        "with gradgradcheck": both_orders,
        "gradcheck.check": ours,
    }
    for name, work in works.items():
        if not work():
            raise AssertionError(f"{name}: expected it to accept a correct function")
    return Benchmark("check of a 10-op function, n = 100", "ms", 1e3, "torch.autograd.gradcheck", works)
