"""Every call that an op's `sample` draws is legal, here and in PyTorch, and has PyTorch's value and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pytest

from refengine import catalogue
from refengine.op import Op
from refengine.spec import EVERYWHERE, Interval
from tests.refengine.support import Constant, agree

T = TypeVar("T")
SHAPES = (
    (),
    (3,),
    (2, 3),
    (1,),
    (2, 1),
    (0,),
    (2, 0),
    (1, 3),
    (2, 3, 2),
    (3, 3),
    (1, 2, 1, 2),
    (4, 2),
    (2, 2, 2),
    (2, 5),
)
CALLS = 60
LEFT_OUT = {
    "copy": "PyTorch has it in place only",
    "zero": "PyTorch has it in place only",
}


@dataclass
class Drawn:
    """A tensor of the call: an operand, differentiated where it is floating."""

    values: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def ndim(self) -> int:
        return int(self.values.ndim)

    @property
    def is_contiguous(self) -> bool:
        return True


class Sampler:
    """Draws without bias towards the simple."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def boolean(self) -> bool:
        return bool(self.random.integers(2))

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def real(self, low: float, high: float) -> float:
        return round(float(self.random.uniform(max(low, -4.0), min(high, 4.0))), 2)

    def axis(self, ndim: int) -> int:
        return self.integer(-ndim, ndim - 1) if ndim else 0

    def axes(self, ndim: int) -> int | tuple[int, ...] | None:
        kind = self.integer(0, 2) if ndim else 0
        if kind < 2:
            return self.axis(ndim) if kind else None
        chosen = self.random.permutation(ndim)[: self.integer(1, ndim)]
        return tuple(int(axis) - ndim * self.boolean() for axis in chosen)

    def operand(self, shape: tuple[int, ...], domain: Interval = EVERYWHERE, *, broadcast: bool = False) -> Drawn:
        if broadcast and self.boolean():
            shape = tuple(1 if self.boolean() else size for size in shape)[self.integer(0, len(shape)) :]
        low, high = max(domain.low, -3.0), min(domain.high, 3.0)
        if low > high:
            low, high = domain.low, domain.high
        values = self.random.uniform(low, high, size=shape)
        for point in domain.avoid:
            values = np.where(np.abs(values - point) < domain.margin, point + 2 * domain.margin, values)
        return Drawn(np.asarray(values))

    def indices(self, shape: tuple[int, ...], high: int, *, distinct: bool = False) -> Drawn:
        if distinct:
            return Drawn(self.random.permutation(high)[: int(np.prod(shape))].reshape(shape))
        return Drawn(np.asarray(self.random.integers(0, max(high, 1), size=shape)))

    def mask(self, shape: tuple[int, ...]) -> Drawn:
        return Drawn(np.asarray(self.random.integers(0, 2, size=shape) > 0))


def _plain(tree: Any, op: Op) -> Any:
    """An argument as `agree` takes it."""
    if isinstance(tree, Drawn):
        return tree.values if tree.values.dtype.kind == "f" and op.differentiable else Constant(tree.values)
    if isinstance(tree, (tuple, list)):
        return type(tree)(_plain(item, op) for item in tree)
    return tree


def _ops() -> list[Op]:
    return [
        op
        for op in catalogue.ops()
        if not op.name.startswith("__") and op.name not in LEFT_OUT and any(map(op.accepts, SHAPES))
    ]


@pytest.mark.parametrize("op", _ops(), ids=lambda op: op.name)
def test_every_sampled_call_is_that_of_pytorch(op: Op) -> None:
    tried = 0
    for seed in range(CALLS):
        shape = SHAPES[seed % len(SHAPES)]
        if not op.accepts(shape):
            continue
        draw = Sampler(seed)
        call = op.sample(draw, draw.operand(shape, op.domains[0]))
        args = [_plain(value, op) for value in call.args]
        agree(op.name, *args, within=1e-7, **{key: _plain(value, op) for key, value in call.kwargs.items()})
        tried += 1
    assert tried >= CALLS // len(SHAPES)
