"""The operands of a call: tensors and numbers, brought to one dtype and one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refengine import dtypes
from refengine.errors import ArgumentError, DeviceError, DTypeError
from refengine.layout import Shape
from refengine.tensor import BACKENDS, Tensor, backend_of

NUMBERS = (bool, int, float, complex)


def as_operand(value: Any, name: str) -> Tensor:
    """A tensor, or a clear error."""
    if isinstance(value, Tensor):
        return value
    raise ArgumentError(
        f"{name}: expected a Tensor, got {value!r} ({type(value).__name__}); wrap it with refengine.tensor(...)"
    )


def number(value: Any) -> Any:
    """NumPy's scalars as Python numbers, so that they do not decide the dtype."""
    return value.item() if not isinstance(value, Tensor) and getattr(value, "shape", None) == () else value


def promote(op: Any, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """The operands converted to their common dtype, by PyTorch's rules; Python numbers stay numbers."""
    if not op.constants and _are_alike(operands):
        return operands
    operands = tuple(number(operand) for operand in operands)
    names = ("tensors",) * len(operands) if op.variadic else op.inputs
    taking_part = [i for i, name in enumerate(names) if name not in op.constants]
    levels = []
    for i in taking_part:
        operand = operands[i]
        if isinstance(operand, Tensor):
            levels.append((operand.dtype, 2 if operand.array.ndim else 1))
        elif isinstance(operand, NUMBERS):
            levels.append((dtypes.of_number(operand), 0))
        else:
            raise ArgumentError(
                f"{op.name}: expected a Tensor or a number for {names[i]}, got {operand!r} ({type(operand).__name__})"
            )
    wanted = dtypes.result_type(levels)
    if op.floating and not wanted.is_differentiable:
        wanted = dtypes.default()
    result = list(operands)
    for i in taking_part:
        if isinstance(result[i], Tensor) and result[i].dtype is not wanted:
            result[i] = result[i].to(wanted)
    if not op.variadic and not any(isinstance(result[i], Tensor) for i in taking_part):
        first = taking_part[0]
        result[first] = Tensor(next(iter(BACKENDS.values())).array(result[first], wanted.numpy))
    return tuple(result)


def same_dtype(op: Any, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors, all of one dtype: PyTorch promotes nothing in a product of matrices."""
    tensors = tuple(as_operand(operand, op.name) for operand in operands)
    if len({t.array.dtype for t in tensors}) > 1:
        raise DTypeError(
            f"{op.name}: expected tensors of one dtype, "
            f"got {', '.join(t.dtype.name for t in tensors)}; convert with to(...)"
        )
    return tensors


def _are_alike(operands: tuple[Any, ...]) -> bool:
    """Whether all are tensors of one dtype that has derivatives, so that nothing is to be converted."""
    known = None
    for operand in operands:
        if type(operand) is not Tensor or (known is not None and operand.array.dtype is not known):
            return False
        known = operand.array.dtype
    return known is not None and known.kind in "fc"


def backend_of_all(op: Any, operands: Sequence[Any]) -> Any:
    """The one backend of all operands; 0-d host tensors go with any device."""
    found = None
    for operand in operands:
        if isinstance(operand, Tensor):
            backend = backend_of(operand.array)
            if found is None or backend is found:
                found = backend
            else:
                raise DeviceError(
                    f"{op.name}: expected all tensors on the same device, got {found.name} and {backend.name}; "
                    "use to(device)"
                )
    return found


def shape_of(operand: Any) -> Shape:
    """The shape of a tensor; a number has none."""
    return operand.array.shape if isinstance(operand, Tensor) else ()
