"""How the values of a loss become one, and what its target must look like."""

from __future__ import annotations

from typing import Any

from refengine.errors import RangeError, ShapeError
from refengine.spec import Draw
from refengine.tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


class TargetError(ShapeError, ValueError):
    """A target that does not go with the input."""


def check_shape(name: str, x: Tensor, target: Tensor) -> None:
    """Raise where the target's shape is not x's."""
    if tuple(x.shape) != tuple(target.shape):
        raise TargetError(f"{name}: expected a target of x's shape {tuple(x.shape)}, got {tuple(target.shape)}")


def check_reduction(name: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> str:
    """`reduction`, if there is such a one."""
    if reduction not in known:
        raise RangeError(f"{name}: expected reduction to be one of {', '.join(known)}, got {reduction!r}")
    return reduction


def reduce(loss: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or every entry of a loss."""
    return loss if reduction == "none" else getattr(loss, reduction)()


def reductions(draw: Draw) -> dict[str, Any]:
    """Keywords for every reduction, the default left out; for drawn programs."""
    return draw.choice(({}, {"reduction": "sum"}, {"reduction": "none"}))
