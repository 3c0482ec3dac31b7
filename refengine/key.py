"""What a user writes in brackets, split into a part that gives a view and a part that needs arrays of indices.

PyTorch's rule: integers, slices, None and Ellipsis are applied first and give a view; lists, index tensors and masks
then index the axes of that view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from refengine import dtypes
from refengine.errors import ArgumentError, DimensionError, DTypeError, PositionError
from refengine.layout import Shape
from refengine.op import Op
from refengine.operand import as_operand
from refengine.recording import Bound
from refengine.tensor import Tensor

MASKS = (dtypes.bool_, dtypes.uint8)
"""Dtypes of tensors that index by being true; PyTorch reads bytes so too."""

FULL = (None, None, None)
"""A slice that takes a whole axis. Slices are (start, stop, step) here, which can be hashed."""


class Key:
    """Slices and arrays of integers, one for each leading axis, as an operand that no gradient flows to.

    Attributes
    ----------
    items : tuple
        What the namespace's `index` takes.
    storages : tuple of Storage
        The memory of the index tensors and masks, whose versions are checked like those of any saved value.
    """

    __slots__ = ("items", "storages")

    def __init__(self, items: tuple[Any, ...], masks: Sequence[Tensor] = ()) -> None:
        self.items = tuple(item.array if isinstance(item, Tensor) else item for item in items)
        self.storages = tuple(item.storage for item in (*items, *masks) if isinstance(item, Tensor))

    @property
    def version(self) -> int:
        """Grows with every in-place operation on an index tensor."""
        return sum(storage.version for storage in self.storages)

    @property
    def shape(self) -> Shape:
        """The shape of the first array, for messages."""
        return next((tuple(item.shape) for item in self.items if hasattr(item, "shape")), ())


def split(key: Any, x: Tensor) -> tuple[tuple[Any, ...], Key | None]:
    """What of `key` gives a view of x (integers, None and hashable slices), and what then indexes that view.

    Raises
    ------
    DimensionError
        If there are more indices than dimensions, or a mask does not fit.
    """
    items = [_plain(item, x) for item in (key if isinstance(key, tuple) else (key,))]
    used = sum(_consumes(item) for item in items)
    if used > x.ndim:
        raise DimensionError(f"too many indices for tensor of dimension {x.ndim}, got {used}")
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise DimensionError("index: an ellipsis ('...') may stand only once")
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [FULL] * (x.ndim - used)
    basic: list[Any] = []
    arrays: list[Any] = []
    masks = [item for item in items if isinstance(item, Tensor) and item.dtype in MASKS]
    axis = 0
    for item in items:
        if item is None or isinstance(item, (int, tuple)):
            basic.append(item)
            arrays += [] if isinstance(item, int) else [slice(None)]
        elif item.dtype in MASKS:
            _check_mask(item, tuple(x.shape)[axis : axis + item.ndim], axis)
            basic += [FULL] * item.ndim if item.ndim else [None]
            arrays += _positions(item)
        else:
            basic.append(FULL)
            arrays.append(item)
        axis += _consumes(item)
    while basic and basic[-1] == FULL:
        basic.pop()
    while arrays and isinstance(arrays[-1], slice):
        arrays.pop()
    return tuple(basic), Key(tuple(arrays), masks) if arrays else None


def _plain(item: Any, x: Tensor) -> Any:
    """An item as an integer, a hashable slice, None, Ellipsis or a tensor of indices."""
    if item is None or item is Ellipsis or type(item) is int:
        return item
    if isinstance(item, slice):
        return tuple(None if bound is None else _integer(bound) for bound in (item.start, item.stop, item.step))
    if isinstance(item, (bool, np.bool_)):
        return Tensor(x.backend.array(bool(item)))
    if isinstance(item, Tensor):
        if item.dtype.is_differentiable:
            raise DimensionError(f"index: tensors used as indices must be integers or bools, got {item.dtype.name}")
        return int(item) if not item.ndim and item.dtype in (dtypes.int64, dtypes.int32) else item
    if isinstance(item, (list, tuple, range, np.ndarray)) or type(item) is x.backend.array_type:
        return _from_values(item, x)
    return _integer(item)


def _integer(value: Any) -> int:
    try:
        return int(value.__index__())
    except AttributeError:
        raise DimensionError(
            "index: only integers, slices, None, Ellipsis, lists, and integer or bool tensors are valid, "
            f"got {value!r} ({type(value).__name__})"
        ) from None


def _from_values(values: Any, x: Tensor) -> Tensor:
    """A tensor of indices from nested lists or an array."""
    array: Any = values if type(values) is x.backend.array_type else x.backend.array(values)
    if not array.size and array.dtype.kind == "f":
        array = x.backend.xp.astype(array, dtypes.int64.numpy)
    if array.dtype.kind not in "iub":
        raise DimensionError(f"index: expected integers or bools, got a sequence of {array.dtype}")
    return Tensor(array)


def _consumes(item: Any) -> int:
    """How many axes of x an item indexes."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype in MASKS else 1


def _check_mask(mask: Tensor, shape: Shape, axis: int) -> None:
    if tuple(mask.shape) != shape:
        raise DimensionError(
            f"index: the shape of the mask {tuple(mask.shape)} at index {axis} "
            f"does not match the shape of the indexed axes {shape}"
        )


def _positions(mask: Tensor) -> list[Any]:
    """The positions where a mask holds, an array for each axis; a 0-d mask takes all or nothing of a new axis."""
    values = mask.backend.to_host(mask.array)
    places = (values if mask.ndim else values.reshape(1)).nonzero()
    return [mask.backend.array(one) for one in places]


def as_slices(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """The view part of a key with real slices; the Ellipsis makes NumPy return an array for a single element too."""
    return (*(slice(*item) if isinstance(item, tuple) else item for item in items), Ellipsis)


def along(axis: int, index: Any) -> tuple[Any, ...]:
    """The key that indexes one (negative) axis."""
    return (Ellipsis, index, *(slice(None),) * (-axis - 1))


def of_tensors(indices: Any, x: Tensor) -> Key:
    """The key of `index_put`: index tensors or masks for the leading axes, None for an axis taken whole."""
    if not isinstance(indices, (tuple, list)):
        raise ArgumentError(f"index_put: expected indices to be a tuple of tensors, got {type(indices).__name__}")
    arrays: list[Any] = []
    masks = [item for item in indices if isinstance(item, Tensor) and item.dtype in MASKS]
    for item in indices:
        index = None if item is None else _plain(item, x) if not isinstance(item, Tensor) else item
        if index is None:
            arrays.append(slice(None))
        elif not isinstance(index, Tensor) or index.dtype.is_differentiable:
            raise DimensionError(f"index_put: expected tensors of integers or bools as indices, got {item!r}")
        elif index.dtype in MASKS:
            _check_mask(index, tuple(x.shape)[len(arrays) : len(arrays) + index.ndim], len(arrays))
            arrays += _positions(index)
        else:
            arrays.append(index)
    if len(arrays) > x.ndim:
        raise DimensionError(f"too many indices for tensor of dimension {x.ndim}, got {len(arrays)}")
    return Key(tuple(arrays), masks)


class Indexed(Op):
    """An op that reads or writes where arrays of indices say.

    Attributes
    ----------
    arguments : tuple of str
        PyTorch's order of the arguments after the first; `inputs` are picked from it by name.
    may_be_negative : bool
        Whether indices may count from the end.
    """

    group = "indexing"
    structure = "linear"
    constants = ("index", "key")
    arguments: ClassVar[tuple[str, ...]] = ()
    may_be_negative: ClassVar[bool] = False

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Bound]:
        """Tensor inputs first, whatever PyTorch's order is."""
        if not args:
            args = (kwargs.pop("x", None),)
        given = dict(zip(self.arguments, args[1:], strict=False))
        twice = given.keys() & kwargs.keys()
        if twice or len(args) - 1 > len(given):
            raise ArgumentError(
                f"{self.name}: expected {', '.join(self.arguments)}, got {len(args) - 1} arguments and {sorted(kwargs)}"
            )
        given.update(kwargs)
        missing = [name for name in self.inputs[1:] if name not in given]
        if missing:
            raise ArgumentError(f"{self.name}: missing the argument {missing[0]!r}")
        return super().prepare((args[0], *(given.pop(name) for name in self.inputs[1:])), given)

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Integer indices; numbers as 0-d tensors; everything else of x's dtype."""
        x = as_operand(operands[0], self.name)
        return (x, *(self._operand(name, o, x) for name, o in zip(self.inputs[1:], operands[1:], strict=True)))

    def _operand(self, name: str, value: Any, x: Tensor) -> Any:
        if name == "key":
            return value
        if name in self.constants:
            return self._index(as_operand(value, self.name))
        if isinstance(value, (bool, int, float, complex)):
            return Tensor(x.backend.full((), as_number(self.name, value, x), x.array.dtype))
        value = as_operand(value, self.name)
        if value.dtype is not x.dtype:
            if value.ndim:
                raise DTypeError(
                    f"{self.name}: expected {name} to have the dtype of the tensor, {x.dtype.name}, "
                    f"got {value.dtype.name}"
                )
            value = value.to(x.dtype)
        return value

    def _index(self, index: Tensor) -> Tensor:
        if index.dtype not in (dtypes.int64, dtypes.int32):
            raise DTypeError(f"{self.name}: expected an index of dtype int64, got {index.dtype.name}")
        if not self.may_be_negative and index.array.size:
            lowest = int(index.backend.to_host(index.array).min())
            if lowest < 0:
                raise PositionError(f"{self.name}: index {lowest} is out of bounds; indices count from 0 here")
        return index

    def run(self, operands: tuple[Any, ...], bound: Bound) -> Tensor:
        """With the engine's own errors."""
        try:
            return super().run(operands, bound)
        except IndexError as error:
            raise PositionError(f"{self.name}: {error}") from None

    def run_inplace(self, operands: tuple[Any, ...], bound: Bound) -> Tensor:
        """With the engine's own errors."""
        try:
            return super().run_inplace(operands, bound)
        except IndexError as error:
            raise PositionError(f"{self.name}_: {error}") from None

    def save(self, edges: Sequence[Any], inputs: Sequence[Any], out: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """A key is saved with its own version."""
        return super().save(edges, [(v, v, v.version) if isinstance(v, Key) else (v, s, n) for v, s, n in inputs], out)


def as_number(name: str, value: Any, x: Tensor) -> Any:
    """A Python number, if x's dtype can hold it."""
    category = dtypes.of_number(value).category
    if category > x.dtype.category and (
        category == dtypes.COMPLEX or (x.dtype.category == dtypes.INTEGER and value != int(value))
    ):
        raise DTypeError(f"{name}: value {value!r} cannot be converted to {x.dtype.name} without loss")
    return value
