"""A user's call as a subject: its tensors found, copied with their layout in one precision, and put back in place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck.checks.claim import Subject
from gradcheck.checks.half import HALVES
from gradcheck.engines import registry
from gradcheck.engines.base import Engine
from gradcheck.failures import UsageError
from gradcheck.program import Array

_LONG = 60
# The spacing at 1 of the dtypes that NumPy lacks. Their values travel as float32, which holds them all, and are cast
# where the function is called; so are its results.
_FOREIGN = {"bfloat16": 2.0**-7}

Precision = Literal["double", "own"]
"""Whether a call's floating tensors are raised to double precision, or keep the precision that they have."""


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
    precision: Precision = "double",
    differentiable: Sequence[bool] | None = None,
    replay: Callable[[], None] | None = None,
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
    precision : "double" or "own"
        "own" leaves the floating tensors as they are: for a function that refuses float64, or has tensors of its own
        in another dtype.
    differentiable : sequence of bool or None
        For each tensor of `inputs`, in the order of `leaves`, whether it is differentiated; what is not floating never
        is. By default those that require grad, else all floating ones.
    replay : callable or None
        Called before each evaluation in place of seeding, to bring back the state that the function starts from.

    Raises
    ------
    UsageError
        If no tensor is floating, or if `differentiable` does not say it for each tensor.
    """
    tensors = [value for value in leaves(inputs) if engine.is_tensor(value)]
    arrays = tuple(_copied(engine, tensor, precision) for tensor in tensors)
    foreign = [_foreign(tensor, array, precision) for tensor, array in zip(tensors, arrays, strict=True)]
    floating = [array.dtype.kind in "fc" for array in arrays]
    if needs_floating and not any(floating):
        dtypes = ", ".join(str(array.dtype) for array in arrays)
        raise UsageError(
            f"inputs: expected a floating tensor to differentiate, got {dtypes}; convert one, x.double() say"
        )
    is_complex = [array.dtype.kind == "c" for array in arrays]
    prepare = replay or (_seeding(engine, seed) if replays else None)
    return Subject(
        engine=engine,
        function=_Call(function, tuple(inputs), engine, prepare, is_complex, foreign),
        inputs=tuple(_as_real(array) for array in arrays),
        differentiable=_mask(engine, tensors, floating, differentiable),
        label=f"{name}({_arguments(inputs, engine)})",
        salt=seed.to_bytes(8, "big", signed=True),
        rtol=rtol,
        noise=max(
            (_FOREIGN[_word(x)] for x, dtype in zip(tensors, foreign, strict=True) if dtype is not None), default=0.0
        ),
        narrow=_narrow(engine, tensors) if precision == "double" else (),
    )


def _mask(
    engine: Engine, tensors: Sequence[Any], floating: Sequence[bool], wanted: Sequence[bool] | None
) -> tuple[bool, ...]:
    if wanted is None:
        asked = [engine.requires_grad(tensor) for tensor in tensors]
        return tuple(asked if any(asked) else floating)
    if len(wanted) != len(tensors):
        raise UsageError(f"differentiable: expected {len(tensors)} flags, one for each tensor, got {len(wanted)}")
    return tuple(bool(asked) and able for asked, able in zip(wanted, floating, strict=True))


def _seeding(engine: Engine, seed: int) -> Callable[[], None]:
    def prepare() -> None:
        engine.seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)

    return prepare


class _Call:
    """The function over its tensors alone, giving its floating results; `prepare` runs before each call.

    A complex input is a pair of real ones here, and so is a complex result: derivatives are those of real functions.
    A tensor of a dtype that NumPy lacks is a float32 one here.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: tuple[Any, ...],
        engine: Engine,
        prepare: Callable[[], None] | None,
        is_complex: Sequence[bool],
        foreign: Sequence[Any | None],
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._engine = engine
        self._prepare = prepare
        self._is_complex = is_complex
        self._foreign = foreign

    def __call__(self, *tensors: Any) -> tuple[Any, ...]:
        with self._engine.evaluating():
            return self._called(tensors)

    def _called(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        engine = self._engine
        kinds = zip(tensors, self._is_complex, self._foreign, strict=True)
        given = iter([_paired(engine, x) if c else x if f is None else _cast(engine, x, f) for x, c, f in kinds])
        arguments = rebuilt(self._inputs, lambda value: next(given) if engine.is_tensor(value) else value)
        if self._prepare is not None:
            self._prepare()
        result = self._function(*arguments)
        found = [y for y in leaves(result) if engine.is_tensor(y)]
        if not found:
            got = type(result).__name__
            raise UsageError(f"function: expected a tensor or a tuple, list or dict of tensors as result, got {got}")
        letters = [engine.kind(y) for y in found]
        if not set(letters) & {"f", "c"}:
            raise UsageError(
                "function: expected a floating tensor among its results, got none; nothing to differentiate"
            )
        return tuple(self._shown(y, k) for y, k in zip(found, letters, strict=True) if k in "fc")

    def _shown(self, tensor: Any, letter: str) -> Any:
        engine = self._engine
        if letter == "c":
            return _parts(engine, tensor)
        return engine.call("float", (tensor,), {}) if _word(tensor) in _FOREIGN else tensor


def _paired(engine: Engine, tensor: Any) -> Any:
    """A complex tensor from real ones along the last axis."""
    real = engine.call("__getitem__", (tensor, (..., 0)), {})
    return engine.call("complex", (real, engine.call("__getitem__", (tensor, (..., 1)), {})), {})


def _parts(engine: Engine, tensor: Any) -> Any:
    # PyTorch conjugates when it is looked at, and has no parts of what it has not looked at.
    looked = engine.call("resolve_conj", (tensor,), {}) if engine.supports("resolve_conj") else tensor
    return engine.call("view_as_real", (looked,), {})


def _cast(engine: Engine, tensor: Any, dtype: Any) -> Any:
    return engine.call("to", (tensor, dtype), {})


def _word(tensor: Any) -> str:
    """``bfloat16`` of ``torch.bfloat16``."""
    return str(getattr(tensor, "dtype", "")).rpartition(".")[2]


def _foreign(tensor: Any, array: Array, precision: Precision) -> Any | None:
    """The dtype that a tensor must be cast to, where NumPy has no array of it."""
    return tensor.dtype if precision == "own" and array.dtype.kind == "f" and _word(tensor) in _FOREIGN else None


def _narrow(engine: Engine, tensors: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    """The dtypes that the tensors have, where half precision is among them."""
    names = tuple(engine.dtype_name(x) if engine.kind(x) == "f" else "" for x in tensors)
    return (names,) if set(names) & HALVES.keys() else ()


def _copied(engine: Engine, tensor: Any, precision: Precision) -> Array:
    """A copy as an array with the tensor's strides; floating values in double precision where that is asked for."""
    values = engine.array(tensor)
    if values.dtype.kind in "fc" and precision == "double":
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

    def written(item: Any) -> Any:
        # A subclass of tuple (a size) holds no names.
        return rebuilt(item, shown) if any(map(engine.is_tensor, leaves(item))) else shown(item)

    return ", ".join(repr(written(item)) for item in inputs)


class _Name:
    """Prints as a name, inside lists too."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
