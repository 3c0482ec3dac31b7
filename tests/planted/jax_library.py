"""JAX in PyTorch's spelling, as far as planted rules need it, so that they are written once for all engines."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradcheck.engines import registry

float32, float64 = np.float32, np.float64
# What rules call on a tensor, and operators, by the names under which the adapter has them.
_METHODS = (
    "abs", "amax", "clone", "cos", "cumprod", "exp", "expand", "flip", "float", "logsumexp", "mean", "prod", "relu",
    "reshape", "sigmoid", "sign", "sin", "sqrt", "square", "squeeze", "sum", "t", "tanh", "to", "unsqueeze",
)  # fmt: skip
_OPERATORS = ("add", "sub", "mul", "truediv", "pow", "matmul", "eq", "ne", "lt", "le", "gt", "ge")


class Tensor:
    """A JAX array with PyTorch's methods; writing to entries replaces the array."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any) -> None:
        self.array = jnp.asarray(array)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        return int(self.array.ndim)

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    @property
    def T(self) -> Tensor:
        return Tensor(self.array.T)

    def numel(self) -> int:
        return int(self.array.size)

    def detach(self) -> Tensor:
        return Tensor(jax.lax.stop_gradient(self.array))

    def __neg__(self) -> Tensor:
        return Tensor(-self.array)

    def __iter__(self) -> Iterator[Tensor]:
        return (Tensor(row) for row in self.array)

    def __getitem__(self, index: Any) -> Tensor:
        return Tensor(self.array[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array = self.array.at[index].set(bare(value))


def _method(name: str) -> Callable[..., Tensor]:
    return lambda self, *args, **kwargs: Tensor(registry.engine("jax").call(name, (self.array, *args), kwargs))


def _operator(name: str) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: Tensor(getattr(operator, name)(self.array, bare(other)))


def _reflected(name: str) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: Tensor(getattr(operator, name)(bare(other), self.array))


for _name in _METHODS:
    setattr(Tensor, _name, _method(_name))
for _name in _OPERATORS:
    setattr(Tensor, f"__{_name}__", _operator(_name))
for _name in _OPERATORS[:4]:
    setattr(Tensor, f"__r{_name}__", _reflected(_name))


def bare(tree: Any) -> Any:
    """The arrays behind tensors, in tuples and lists too."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(bare, tree))
    return tree.array if isinstance(tree, Tensor) else tree


def tensor(values: Any, dtype: Any = None) -> Tensor:
    """A tensor in the dtype asked for, whatever the user's setting; float32 by default, as in PyTorch."""
    with registry.engine("jax").evaluating():
        return Tensor(jnp.array(np.asarray(values, float32 if dtype is None else dtype)))


def where(condition: Any, x: Any, y: Any) -> Tensor:
    return Tensor(jnp.where(bare(condition), bare(x), bare(y)))


def zeros_like(x: Any) -> Tensor:
    return Tensor(jnp.zeros_like(bare(x)))


def ones_like(x: Any) -> Tensor:
    return Tensor(jnp.ones_like(bare(x)))


def cat(tensors: Sequence[Any], axis: int) -> Tensor:
    return Tensor(jnp.concatenate(bare(list(tensors)), axis))


def stack(tensors: Sequence[Any]) -> Tensor:
    return Tensor(jnp.stack(bare(list(tensors))))


def softmax(x: Any, axis: int) -> Tensor:
    return Tensor(jax.nn.softmax(bare(x), axis))
