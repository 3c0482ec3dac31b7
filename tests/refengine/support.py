"""Holds an op of the engine against PyTorch's: value, gradient and second order, on the same numbers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import refengine
from refengine import catalogue
from refengine.autograd import engine

torch = pytest.importorskip("torch")
Array = np.ndarray[Any, Any]


class Constant:
    """An argument that is a tensor and does not require grad."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __repr__(self) -> str:
        return _text(self)


def ours(name: str) -> Any:
    """The engine's op, by its name or an alias."""
    return next((op for op in catalogue.ops() if name in op.aliases), None) or catalogue.get(name)


def theirs(name: str) -> Any:
    """PyTorch's op of that name: a method, one of nn.functional, or a function, as it is spelled there."""
    declared = next((op for op in catalogue.ops() if op.name == name), None)
    places = (torch.Tensor, torch.nn.functional, torch)
    for place in places[1:] if declared is not None and declared.form == "function" else places:
        found = getattr(place, name, None)
        if callable(found):
            return found
    return getattr(torch.Tensor, name)


def normal(*shape: int, seed: int = 0) -> Array:
    """Normal float64 numbers, the same for the same shape and seed."""
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def both(value: Any) -> tuple[Any, Any]:
    """An argument for the engine and for PyTorch: floating arrays require grad, and keep their strides."""
    if isinstance(value, Constant):
        return refengine.from_numpy(value.values), torch.from_numpy(value.values)
    if isinstance(value, np.ndarray):
        flows = value.dtype.kind in "fc"
        return refengine.from_numpy(value).requires_grad_(flows), torch.from_numpy(value).requires_grad_(flows)
    if isinstance(value, (tuple, list)):
        pairs = [both(item) for item in value]
        return type(value)(pair[0] for pair in pairs), type(value)(pair[1] for pair in pairs)
    return value, value


def leaves(tree: Any) -> list[Any]:
    """What stands in nested tuples and lists."""
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def first(result: Any) -> Any:
    """The result, or the first of several."""
    return result[0] if isinstance(result, tuple) else result


def close(mine: Any, their: Any, what: str, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Assert the same shape, dtype and values, NaN and infinities in the same places."""
    assert tuple(their.shape) == tuple(mine.shape), what
    assert str(their.dtype).split(".")[1] == mine.dtype.name, what
    a, b = mine.detach().numpy(), their.numpy(force=True)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=what)


def agree(
    name: str,
    *args: Any,
    second: bool = False,
    inplace: bool = False,
    within: float = 1e-10,
    **kwargs: Any,
) -> None:
    """Assert that op `name` and its gradients (and those of its gradients) are PyTorch's.

    Arrays among the arguments become tensors; floating ones are differentiated, unless they are `Constant`.
    """
    what = f"{name}({', '.join(map(_text, args))}, {kwargs})"
    pairs = [both(value) for value in args]
    named = {key: both(value) for key, value in kwargs.items()}
    calls = []
    for i, function in enumerate((_function(ours(name), name, inplace), theirs(name + "_" * inplace))):
        given = [pair[i] for pair in pairs]
        tensors = leaves([*given, *(pair[i] for pair in named.values())])
        inputs = [t for t in tensors if getattr(t, "requires_grad", False)]
        if inplace:
            given[0] = given[0].clone()
        with np.errstate(all="ignore"):
            result = first(function(*given, **{key: pair[i] for key, pair in named.items()}))
        calls.append((result, inputs))
    (mine, my_inputs), (their, their_inputs) = calls
    close(mine, their, what, within)
    assert their.requires_grad == mine.requires_grad, what
    if their.requires_grad:
        _gradients(mine, their, my_inputs, their_inputs, what, second, within)


def _function(op: Any, name: str, inplace: bool) -> Any:
    return op.call_inplace if inplace else op


def _gradients(mine: Any, their: Any, my_inputs: Any, their_inputs: Any, what: str, second: bool, rtol: float) -> None:
    """Assert that the vector-Jacobian products agree, and theirs in turn."""
    cotangent = normal(*mine.shape, seed=1).astype(mine.detach().numpy().dtype)
    if cotangent.dtype.kind == "c":
        cotangent = np.asarray(cotangent + 1j * normal(*mine.shape, seed=2))
    with np.errstate(all="ignore"):
        got = engine.grad(mine, my_inputs, refengine.from_numpy(cotangent), create_graph=second, materialize_grads=True)
    expected = torch.autograd.grad(
        their, their_inputs, torch.from_numpy(cotangent), create_graph=second, materialize_grads=True
    )
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        close(a, b, f"gradient {i} of {what}", rtol)
    if second and any(b.requires_grad for b in expected):
        flowing = [i for i, b in enumerate(expected) if b.requires_grad]
        weights = [normal(*expected[i].shape, seed=3 + i) for i in flowing]
        with np.errstate(all="ignore"):
            terms = [(got[i] * refengine.from_numpy(w)).sum() for i, w in zip(flowing, weights, strict=True)]
            again = _again(sum(terms[1:], start=terms[0]), my_inputs)
        whole = sum((expected[i] * torch.from_numpy(w)).sum() for i, w in zip(flowing, weights, strict=True))
        for i, (a, b) in enumerate(
            zip(again, torch.autograd.grad(whole, their_inputs, materialize_grads=True), strict=True)
        ):
            close(a, b, f"second gradient {i} of {what}", rtol * 100)


def _again(total: Any, inputs: Any) -> Any:
    """The gradients of a scalar; zeros where it does not depend on the inputs, which PyTorch does not always notice."""
    if total.requires_grad:
        return engine.grad(total, inputs, materialize_grads=True)
    return tuple(refengine.zeros_like(x) for x in inputs)


def both_raise(name: str, error: type[Exception], *args: Any, inplace: bool = False, **kwargs: Any) -> str:
    """Assert that PyTorch raises, and the engine `error`, which is a kind of what PyTorch raises; the message."""
    pairs = [both(value) for value in args]
    named = {key: both(value) for key, value in kwargs.items()}
    with pytest.raises(Exception) as their:
        theirs(name + "_" * inplace)(*[p[1] for p in pairs], **{k: p[1] for k, p in named.items()})
    with pytest.raises(error) as mine:
        _function(ours(name), name, inplace)(*[p[0] for p in pairs], **{k: p[0] for k, p in named.items()})
    assert issubclass(mine.type, their.type), f"{mine.type} is no {their.type}"
    return str(mine.value)


def layouts(array: Array) -> Sequence[Array]:
    """The same numbers contiguous, with axes reversed in memory, and with gaps."""
    reverse = np.ascontiguousarray(array.T).T
    gaps = np.full(tuple(2 * size for size in array.shape), math.nan)[tuple(slice(None, None, 2) for _ in array.shape)]
    gaps[...] = array
    return array, reverse, gaps


Arguments = tuple[str, tuple[Any, ...], Mapping[str, Any]]


def _text(value: Any) -> str:
    values = value.values if isinstance(value, Constant) else value
    if isinstance(values, np.ndarray):
        return f"{values.dtype}{list(values.shape)}{zlib.crc32(values.tobytes()) % 10_000:04}".replace(" ", "")
    return repr(value)


def case(name: str, *args: Any, **kwargs: Any) -> Any:
    """One call as a parameter of a test, named by its arguments."""
    label = "-".join([name, *map(_text, args), *(f"{k}={_text(v)}" for k, v in kwargs.items())])
    return pytest.param(name, args, kwargs, id=label)


def unique(*groups: Sequence[Any]) -> list[Any]:
    """The cases of all groups, each once."""
    return list({param.id: param for group in groups for param in group}.values())
