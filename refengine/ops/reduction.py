"""Reductions over axes, and running sums."""

from __future__ import annotations

from typing import Any

from refengine.backends.base import Array, Namespace
from refengine.op import Op, Reduction


class Sum(Reduction):
    """Return the sum over axes."""

    def forward(self, xp: Namespace, x: Array, *, axis: Any, keepdims: bool) -> Array:
        return xp.sum(x, axis=axis, keepdims=keepdims)

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return g


class SumTo(Op):
    """The transpose of broadcasting, for rules."""

    name = "_sum_to"
    structure = "linear"

    def bind(self, x: Any, shape: Any) -> dict[str, Any]:
        return {"shape": shape, "source": tuple(x)}

    def forward(self, xp: Namespace, x: Array, *, shape: Any) -> Array:
        return xp.sum_to(x, shape)

    def vjp(self, xp: Namespace, g: Array, *, source: Any) -> Array:
        return xp.broadcast_to(g, source)


OPS: tuple[Op, ...] = (Sum(), SumTo())
