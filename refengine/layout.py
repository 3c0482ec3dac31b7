"""Pure functions on shapes, strides (in elements), offsets: axes, broadcasting, contiguity, views, overlap, windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from refengine.errors import ArgumentError, DimensionError, RepeatedAxisError, ShapeError, ViewError

Shape = tuple[int, ...]


class Size(tuple[int, ...]):
    """A shape that prints as PyTorch's does."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return prod(self)

    def __repr__(self) -> str:
        return f"refengine.Size([{', '.join(map(str, self))}])"


def axis(value: Any, ndim: int) -> int:
    """`value` as a negative axis; a 0-d tensor has the axes 0 and -1.

    Raises
    ------
    DimensionError
        If there is no such axis.
    """
    span = ndim or 1
    try:
        index = value.__index__()
    except AttributeError:
        raise ArgumentError(f"dim: expected an int, got {value!r} ({type(value).__name__})") from None
    if not -span <= index < span:
        raise DimensionError(
            f"Dimension out of range: expected dim in [{-span}, {span - 1}], got dim={index}; the tensor "
            f"has {ndim} dimensions"
        )
    return int(index) - span if index >= 0 else int(index)


def axes(value: Any, ndim: int) -> tuple[int, ...]:
    """`value` (None or (): all axes; an int; a tuple) as ascending distinct negative axes."""
    if value is None or (isinstance(value, (tuple, list)) and not value):
        return tuple(range(-ndim, 0))
    wanted = [axis(item, ndim) for item in (value if isinstance(value, (tuple, list)) else (value,))]
    if len(set(wanted)) != len(wanted):
        raise RepeatedAxisError(f"dim: expected distinct axes, got dim={value!r}; name each axis once")
    return tuple(sorted(wanted)) if ndim else ()


def sizes(values: Sequence[Any]) -> Shape:
    """Sizes given one by one or as one sequence, ``f(2, 3)`` or ``f((2, 3))``."""
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = values[0]
    try:
        return tuple(value.__index__() for value in values)
    except AttributeError:
        raise ArgumentError(f"size: expected ints, got {values!r}") from None


def broadcast(*shapes: Shape) -> Shape:
    """The shape that all `shapes` broadcast to.

    Raises
    ------
    ShapeError
        Naming the shapes and the axis that does not fit.
    """
    ndim = max(map(len, shapes), default=0)
    result = []
    for position in range(-ndim, 0):
        found = {shape[position] for shape in shapes if len(shape) >= -position} - {1}
        if len(found) > 1:
            raise ShapeError(
                f"broadcasting: sizes {sorted(found)} at dim {position} do not fit, got shapes {shapes}; "
                "make them equal or 1"
            )
        result.append(found.pop() if found else 1)
    return tuple(result)


def expand(shape: Shape, wanted: Shape) -> Shape:
    """The target of ``expand(*wanted)``, where -1 keeps a size."""
    if len(wanted) < len(shape):
        raise ShapeError(f"expand: expected at least {len(shape)} sizes, got {wanted} for shape {shape}")
    padded = (1,) * (len(wanted) - len(shape)) + shape
    new = len(wanted) - len(shape)
    result = []
    for position, (have, want) in enumerate(zip(padded, wanted, strict=True)):
        if want == -1 and position < new:
            raise ShapeError(f"expand: -1 is not allowed in a new leading dimension, got {wanted} for shape {shape}")
        size = have if want == -1 else want
        if have not in (1, size):
            raise ShapeError(
                f"expand: cannot expand size {have} to {size} at dim {position}, got {wanted} for shape {shape}"
            )
        result.append(size)
    return tuple(result)


def infer(shape: Shape, wanted: Shape) -> Shape:
    """The target of ``view(*wanted)`` with its one -1 filled in."""
    count = prod(shape)
    if wanted.count(-1) > 1:
        raise ShapeError(f"view: only one size may be -1, got {wanted}")
    if -1 in wanted:
        rest = prod(size for size in wanted if size != -1)
        if rest == 0 or count % rest:
            raise ShapeError(f"shape {wanted} is invalid for input of size {count}")
        wanted = tuple(count // rest if size == -1 else size for size in wanted)
    if prod(wanted) != count or any(size < 0 for size in wanted):
        raise ShapeError(f"shape {wanted} is invalid for input of size {count}")
    return wanted


def contiguous_strides(shape: Shape) -> Shape:
    """Row-major strides in elements, as PyTorch gives them (sizes 0 count as 1)."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether the elements lie in row-major order without gaps; strides of size-1 axes do not matter."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 0:
            return True
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def overlaps(shape: Shape, strides: Shape) -> bool:
    """Whether two elements are known to share memory: an axis of stride 0 and size over 1 (an expanded tensor)."""
    return any(stride == 0 and size > 1 for size, stride in zip(shape, strides, strict=True)) and 0 not in shape


def span(shape: Shape, strides: Shape) -> tuple[int, int]:
    """The lowest and the highest position of an element, counted from the first; (0, -1) where there is none."""
    if 0 in shape:
        return 0, -1
    ends = [stride * (size - 1) for size, stride in zip(shape, strides, strict=True)]
    return sum(end for end in ends if end < 0), sum(end for end in ends if end > 0)


def view_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape:
    """Strides of a view of shape `wanted` on memory laid out as (`shape`, `strides`).

    Consecutive axes that lie without gaps form one block; each block must be covered by whole axes of `wanted`.

    Raises
    ------
    ViewError
        If only a copy can have that shape.
    """
    if 0 in shape:
        return contiguous_strides(wanted)
    blocks: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if blocks and blocks[-1][1] == stride * size:
            blocks[-1] = (blocks[-1][0] * size, stride)
        else:
            blocks.append((size, stride))
    result: list[int] = []
    left, step = 1, 1
    for size in reversed(wanted):
        if size == 1:
            result.append(left * step)
            continue
        if left == 1:
            left, step = blocks.pop()
        if left % size:
            raise ViewError(
                f"view: shape {wanted} is not compatible with shape {shape} and stride {strides} (a "
                "dimension would span two "
                "separate blocks of memory); use reshape(...), which copies, or contiguous() first"
            )
        result.append(step)
        left, step = left // size, step * size
    return tuple(reversed(result))


def permutation(dims: Iterable[Any], ndim: int) -> Shape:
    """`dims` as a permutation in negative axes."""
    wanted = tuple(axis(dim, ndim) for dim in dims)
    if len(wanted) != ndim or len(set(wanted)) != ndim:
        raise ShapeError(f"permute: expected each of the {ndim} dimensions once, got dims={tuple(dims)}")
    return wanted


@dataclass(frozen=True, slots=True)
class Window:
    """How a window moves over the last axes of an array; each tuple has one number for each of these axes.

    Attributes
    ----------
    kernel : tuple of int
        How many entries the window sees.
    stride : tuple of int
        How far it moves from one place to the next.
    dilation : tuple of int
        How far the entries that it sees lie apart.
    before : tuple of int
        How many zeros stand in front of the array; behind it stand as many as the last window reaches.
    count : tuple of int
        How many places it takes.
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    count: Shape

    @property
    def extent(self) -> Shape:
        """The sizes of what the windows reach over, zeros included."""
        axes = zip(self.count, self.stride, self.dilation, self.kernel, strict=True)
        return tuple((count - 1) * stride + dilation * (size - 1) + 1 for count, stride, dilation, size in axes)

    def places(self, tap: Shape) -> tuple[slice, ...]:
        """Where, in what the windows reach over, the entries lie that they see at one place of the kernel."""
        axes = zip(tap, self.dilation, self.stride, self.count, strict=True)
        return tuple(slice(k * d, k * d + (count - 1) * step + 1, step) for k, d, step, count in axes)
