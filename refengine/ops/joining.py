"""Joining several tensors into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ShapeError
from refengine.layout import Shape
from refengine.op import Op
from refengine.spec import Call, Draw, Operand

EMPTY: Shape = (0,)
"""A tensor of this shape joins with any: PyTorch keeps it from the days when there was no other empty tensor."""


class Join(Op):
    """An op whose first argument is a sequence of tensors."""

    group = "shape"
    form = "function"
    inputs = ("tensors",)
    variadic = True
    structure = "linear"


class Cat(Join):
    """Return the tensors joined along an axis that they have. Tensors of shape (0,) are left out.

    Raises
    ------
    ShapeError
        If the other sizes differ.
    """

    aliases = ("concat", "concatenate")
    min_ndim = 1

    def bind(self, shapes: tuple[Shape, ...], dim: Any = 0) -> dict[str, Any]:
        shapes = tuple(tuple(shape) for shape in shapes)
        joined = [i for i, shape in enumerate(shapes) if shape != EMPTY] or [0]
        first = shapes[joined[0]]
        if not all(shapes):
            raise ShapeError("cat: expected tensors with dimensions, got one of shape (); use stack, or reshape it")
        axis = layout.axis(dim, len(first))
        starts, position = [0] * len(shapes), 0
        for i in joined:
            shape = shapes[i]
            if len(shape) != len(first) or any(
                a != b for k, (a, b) in enumerate(zip(shape, first, strict=True)) if k - len(first) != axis
            ):
                raise ShapeError(f"cat: sizes must match except in dim {dim}, got {first} and {shape}")
            starts[i] = position
            position += shape[axis]
        parts = tuple(None if i not in joined else (starts[i], starts[i] + shapes[i][axis]) for i in range(len(shapes)))
        return {"axis": axis, "joined": tuple(joined), "parts": parts}

    def forward(self, xp: Namespace, tensors: Sequence[Array], *, axis: int, joined: tuple[int, ...]) -> Array:
        return xp.concat([tensors[i] for i in joined], axis=axis)

    def vjp(
        self, xp: Namespace, g: Array, *, index: int, axis: int, parts: tuple[tuple[int, int] | None, ...]
    ) -> Array:
        part = parts[index]
        if part is None:
            return xp.zeros(EMPTY, g.dtype)
        return xp.index(g, (Ellipsis, slice(*part), *(slice(None),) * (-axis - 1)))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """One to three tensors, the same one among them, of other sizes along the axis."""
        dim = draw.axis(x.ndim)
        others: list[Operand] = []
        for _ in range(draw.integer(0, 2)):
            size = list(x.shape)
            size[dim] = draw.choice((size[dim], 1, 2, 0))
            others.append(x if draw.integer(0, 3) == 3 else draw.operand(tuple(size)))
        position = draw.integer(0, len(others))
        tensors = (*others[:position], x, *others[position:])
        return Call((tensors,), {"dim": dim} if dim or draw.boolean() else {})


class Stack(Join):
    """Return the tensors, all of one shape, joined along a new axis.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """

    def bind(self, shapes: tuple[Shape, ...], dim: Any = 0) -> dict[str, Any]:
        if len(set(map(tuple, shapes))) > 1:
            raise ShapeError(
                f"stack: expected tensors of equal shape, got {', '.join(str(tuple(shape)) for shape in shapes)}"
            )
        return {"axis": layout.axis(dim, len(shapes[0]) + 1)}

    def forward(self, xp: Namespace, tensors: Sequence[Array], *, axis: int) -> Array:
        return xp.stack(list(tensors), axis=axis)

    def vjp(self, xp: Namespace, g: Array, *, index: int, axis: int) -> Array:
        return xp.index(g, (Ellipsis, index, *(slice(None),) * (-axis - 1)))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """One to three tensors, the same one among them."""
        others = [x if draw.integer(0, 3) == 3 else draw.operand(tuple(x.shape)) for _ in range(draw.integer(0, 2))]
        position = draw.integer(0, len(others))
        dim = draw.axis(x.ndim + 1)
        return Call(((*others[:position], x, *others[position:]),), {"dim": dim} if dim or draw.boolean() else {})


OPS: tuple[Op, ...] = (Cat(), Stack())
