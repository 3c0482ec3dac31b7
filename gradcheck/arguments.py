"""A user's call as a subject: its tensors found, raised to float64 with their layout, and put back where they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck.checks.claim import Subject
from gradcheck.engines import registry
from gradcheck.engines.base import Engine
from gradcheck.failures import UsageError
from gradcheck.program import Array

_LONG = 60


def find_engine(inputs: Sequence[Any], asked: str | Engine | None) -> Engine:
    """The engine asked for, else that of the tensors among `inputs`.

    Raises
    ------
    UsageError
        If there is no tensor of a registered engine.
    """
    if isinstance(asked, str):
        return registry.engine(asked)
    engine = asked or registry.recognise(leaves(inputs))
    if engine is None:
        got = ", ".join(sorted({type(value).__name__ for value in leaves(inputs)})) or "no argument"
        raise UsageError(
            f"inputs: expected at least one tensor of a registered engine ({', '.join(registry.names())}), got {got}; "
            "pass the function's arguments after it, tensors as tensors"
        )
    return engine


def leaves(tree: Any) -> Iterator[Any]:
    """What a tree of lists, tuples and dicts holds, in order."""
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree


def rebuilt(tree: Any, replace: Callable[[Any], Any]) -> Any:
    """The tree with each leaf replaced, left to right; a named tuple stays one."""
    if isinstance(tree, (list, tuple)):
        items = [rebuilt(item, replace) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, dict):
        return {key: rebuilt(item, replace) for key, item in tree.items()}
    return replace(tree)


def as_subject(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    engine: Engine,
    *,
    rtol: float,
    seed: int,
    name: str,
    needs_floating: bool = True,
    replays: bool = True,
) -> Subject:
    """The subject of ``function(*inputs)``: its tensors are the inputs, all else stays as it is.

    Parameters
    ----------
    function : callable
    inputs : sequence
        Arguments; tensors may stand in lists, tuples and dicts. They are copied, floating ones to float64.
    engine : Engine
    rtol, seed
        As in `gradcheck.check`.
    name : str
        What `function` is called in a report.
    needs_floating : bool
        Whether inputs without a floating tensor are refused.
    replays : bool
        Whether each call starts from the same random state.

    Raises
    ------
    UsageError
        If no tensor is floating.
    """
    tensors = [value for value in leaves(inputs) if engine.is_tensor(value)]
    arrays = tuple(_raised(engine, tensor) for tensor in tensors)
    floating = [array.dtype.kind in "fc" for array in arrays]
    if needs_floating and not any(floating):
        dtypes = ", ".join(str(array.dtype) for array in arrays)
        raise UsageError(
            f"inputs: expected a floating tensor to differentiate, got {dtypes}; convert one, x.double() say"
        )
    asked = [engine.requires_grad(tensor) for tensor in tensors]
    differentiable = tuple(asked if any(asked) else floating)
    is_complex = [array.dtype.kind == "c" for array in arrays]
    call = _Call(function, tuple(inputs), engine, seed if replays else None, is_complex)
    return Subject(
        engine=engine,
        function=call,
        inputs=tuple(_as_real(array) for array in arrays),
        differentiable=differentiable,
        label=f"{name}({_arguments(inputs, engine)})",
        salt=seed.to_bytes(8, "big", signed=True),
        rtol=rtol,
    )


class _Call:
    """The function over its tensors alone, giving its floating results; `seed` sets the random state of each call.

    A complex input is a pair of real ones here, and so is a complex result: derivatives are those of real functions.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: tuple[Any, ...],
        engine: Engine,
        seed: int | None,
        is_complex: Sequence[bool],
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._engine = engine
        self._seed = seed
        self._is_complex = is_complex

    def __call__(self, *tensors: Any) -> tuple[Any, ...]:
        engine = self._engine
        given = iter([_paired(engine, x) if c else x for x, c in zip(tensors, self._is_complex, strict=True)])
        arguments = rebuilt(self._inputs, lambda value: next(given) if engine.is_tensor(value) else value)
        if self._seed is not None:
            engine.seed(self._seed)
            random.seed(self._seed)
            np.random.seed(self._seed % 2**32)
        result = self._function(*arguments)
        found = [y for y in leaves(result) if engine.is_tensor(y)]
        if not found:
            got = type(result).__name__
            raise UsageError(f"function: expected a tensor or a tuple, list or dict of tensors as result, got {got}")
        kinds = [engine.kind(y) for y in found]
        if not set(kinds) & {"f", "c"}:
            raise UsageError(
                "function: expected a floating tensor among its results, got none; nothing to differentiate"
            )
        return tuple(_parts(engine, y) if k == "c" else y for y, k in zip(found, kinds, strict=True) if k in "fc")


def _paired(engine: Engine, tensor: Any) -> Any:
    """A complex tensor from real ones along the last axis."""
    real = engine.call("__getitem__", (tensor, (..., 0)), {})
    return engine.call("complex", (real, engine.call("__getitem__", (tensor, (..., 1)), {})), {})


def _parts(engine: Engine, tensor: Any) -> Any:
    return engine.call("view_as_real", (tensor,), {})


def _raised(engine: Engine, tensor: Any) -> Array:
    """A copy as an array, floating values in double precision, with the tensor's strides."""
    values = engine.array(tensor)
    if values.dtype.kind in "fc":
        values = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    strides = engine.strides(tensor)
    if not values.size or any(s < 0 for s in strides):
        return values
    span = 1 + sum((n - 1) * s for n, s in zip(values.shape, strides, strict=True))
    laid = as_strided(np.zeros(span, values.dtype), values.shape, [s * values.itemsize for s in strides])
    laid[...] = values
    return laid


def _as_real(array: Array) -> Array:
    return np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else array


def _arguments(inputs: Sequence[Any], engine: Engine) -> str:
    """``x0, [x1, x2], 3``: tensors by number, all else as it prints."""
    count = iter(range(len(list(leaves(inputs)))))

    def shown(value: Any) -> Any:
        if engine.is_tensor(value):
            return _Name(f"x{next(count)}")
        text = repr(value)
        return _Name(text if len(text) <= _LONG else f"<{type(value).__name__}>")

    return ", ".join(repr(rebuilt(item, shown)) for item in inputs)


class _Name:
    """Prints as a name, inside lists too."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
