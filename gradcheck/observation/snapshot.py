"""What a call looks like (its signature, in words too) and a copy of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from gradcheck.arguments import leaves, rebuilt
from gradcheck.engines.base import Engine
from gradcheck.observation.call import Signature

_PLAIN = frozenset({bool, int, str, bytes, type(None)})
# Classes of tensors that are copied alike; one of another (a fake tensor, say) must not take the place of a real one.
_TENSORS = frozenset({"Tensor", "Parameter"})


def tensors_in(arguments: Any, engine: Engine) -> list[Any]:
    """The tensors among the arguments, in order, inside lists, tuples and dicts too."""
    return [value for value in leaves(arguments) if engine.is_tensor(value)]


def signature_of(arguments: tuple[Any, ...], engine: Engine) -> Signature:
    """Dtypes, ranks, axes of size 1, layouts, devices, what requires grad, and the other values with their types."""
    return tuple(_entry(value, engine) for value in arguments)


def _entry(value: Any, engine: Engine) -> Hashable:
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if engine.is_tensor(value):
        layout, device = layout_of(value, engine), engine.device_of(value)
        special = "" if kind.__name__ in _TENSORS else kind.__name__
        # A call with an axis of size 1 says little of the others: such an axis may broadcast, and stays as it is.
        ones = tuple(size == 1 for size in value.shape)
        return engine.dtype_name(value), ones, layout, engine.requires_grad(value), device, special
    if isinstance(value, (list, tuple)):
        return kind, tuple(_entry(item, engine) for item in value)
    if isinstance(value, dict):
        return kind, tuple((_value(key), _entry(item, engine)) for key, item in value.items())
    return _value(value)


def _value(value: Any) -> Hashable:
    """A value with its type; the type alone where it cannot be told from another, or is another each time."""
    kind: Any = type(value)
    if isinstance(value, type):
        return value
    if kind.__hash__ is object.__hash__:
        # Not one of many that look alike: the library's own constants (dtypes, say).
        return (kind, repr(value)) if kind.__module__ in ("torch", "refengine.dtypes") else (kind,)
    try:
        hash(value)
        is_itself = bool(value == value)  # NaN is not
    except Exception:
        is_itself = False
    return (kind, value) if is_itself else (kind,)


def layout_of(tensor: Any, engine: Engine) -> str:
    """``contiguous``, ``strided``, ``expanded`` or ``empty``; ``other`` for a tensor without strides."""
    try:
        shape, strides = tensor.shape, engine.strides(tensor)
    except Exception:
        return "other"
    expected, layout = 1, "contiguous"
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 0:
            return "empty"
        if size > 1 and stride != expected:
            layout = "expanded" if stride == 0 or layout == "expanded" else "strided"
        expected *= size
    return layout


def in_words(arguments: tuple[Any, ...], engine: Engine) -> str:
    """``x0 float32 (2-d), x1 int64 (1-d, strided), 3``: tensors by number, all else as it prints."""
    numbers = iter(range(len(tensors_in(arguments, engine))))
    return ", ".join(_words(value, engine, numbers) for value in arguments)


def _words(value: Any, engine: Engine, numbers: Iterator[int]) -> str:
    if engine.is_tensor(value):
        layout = layout_of(value, engine)
        rank = f"{len(value.shape)}-d" + ("" if layout == "contiguous" else f", {layout}")
        ones = [str(axis) for axis, size in enumerate(value.shape) if size == 1]
        rank += f", size 1 along {', '.join(ones)}" if ones else ""
        return f"x{next(numbers)} {engine.dtype_name(value)} ({rank})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_words(item, engine, numbers) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_words(item, engine, numbers)}" for key, item in value.items()) + "}"
    kind: Any = type(value)
    is_nameless = kind.__repr__ is object.__repr__ or callable(value)
    text = f"<{getattr(value, '__qualname__', kind.__qualname__)}>" if is_nameless else repr(value)
    return text if len(text) <= _LONG else f"<{kind.__qualname__}>"


_LONG = 40


def by_position(
    forward: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], skip: int
) -> tuple[Any, ...] | None:
    """The arguments with those given by name at their positions; None where one can be given by name only.

    `skip` leading parameters of `forward` (a context, a class) stand before the arguments.
    """
    bound = inspect.signature(forward).bind(*(None,) * skip, *args, **keywords)
    bound.apply_defaults()
    return None if bound.kwargs else bound.args[skip:]


def device_among(tensors: list[Any], engine: Engine) -> str:
    """The device of a call: that of its tensors; the accelerator's where a few are on the CPU."""
    devices = list(dict.fromkeys(engine.device_of(tensor) for tensor in tensors))
    return next((device for device in devices if device != "cpu"), "cpu")


def copied(arguments: tuple[Any, ...], engine: Engine) -> tuple[Any, ...]:
    """The arguments with copies of the tensors; see `Engine.snapshot`."""
    copies = iter(engine.snapshot(tensors_in(arguments, engine)))
    return tuple(rebuilt(item, lambda value: next(copies) if engine.is_tensor(value) else value) for item in arguments)
