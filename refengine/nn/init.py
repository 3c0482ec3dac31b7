"""Fills parameters with first values, in place and outside the graph. Bounds as PyTorch's."""

from __future__ import annotations

import math

import numpy as np

from refengine import creation, random
from refengine.autograd.modes import no_grad
from refengine.errors import ArgumentError, ShapeError
from refengine.random import Generator
from refengine.tensor import Tensor

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
"""How much a nonlinearity shrinks the variance, undone. Source: PyTorch documentation, torch.nn.init.calculate_gain."""


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity; `param` is leaky_relu's slope, 0.01 unless given.

    Raises
    ------
    ArgumentError
        If the nonlinearity is unknown.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise ArgumentError(f"calculate_gain: expected one of {', '.join(GAINS)}, leaky_relu, got {nonlinearity!r}")
    return GAINS[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs a weight of this shape joins."""
    if tensor.ndim < 2:
        raise InitShapeError(f"init: expected a tensor with at least 2 dimensions, got shape {tuple(tensor.shape)}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Values drawn evenly from [a, b)."""
    with no_grad():
        return random.uniform_(tensor, a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Values from a normal distribution."""
    with no_grad():
        return random.normal_(tensor, mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    with no_grad():
        return tensor.copy_(tensor.new_full((), val))


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Even values that keep the variance both ways (Glorot and Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal values that keep the variance both ways (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def _spread(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """The standard deviation of Kaiming's scheme (He et al. 2015, eq. 10)."""
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"init: expected mode 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Even values that keep the variance through rectifiers (He et al. 2015); `a` is leaky_relu's slope."""
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _spread(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal values that keep the variance through rectifiers (He et al. 2015); `a` is leaky_relu's slope."""
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, _spread(tensor, a, mode, nonlinearity), generator)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, zeros elsewhere."""
    if tensor.ndim != 2:
        raise InitShapeError(f"eye_: expected a tensor with 2 dimensions, got shape {tuple(tensor.shape)}")
    with no_grad():
        return tensor.copy_(creation.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution that hands on its inputs: in each group, output i sees input i in the middle of the kernel."""
    if not 3 <= tensor.ndim <= 5 or tensor.shape[0] % groups:
        raise InitShapeError(
            f"dirac_: expected a weight of a convolution with 3 to 5 dimensions and outputs that {groups} groups "
            f"divide, got shape {tuple(tensor.shape)}"
        )
    zeros_(tensor)
    outputs = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        for group in range(groups):
            for one in range(min(outputs, tensor.shape[1])):
                tensor[(group * outputs + one, one, *middle)] = 1
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """An orthogonal matrix, all axes but the first as one (Saxe et al. 2013); rows or columns, whichever are fewer."""
    if tensor.ndim < 2:
        raise InitShapeError(f"orthogonal_: expected at least 2 dimensions, got shape {tuple(tensor.shape)}")
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    drawn = (generator or random.default_generator).numpy.normal(size=(max(rows, columns), min(rows, columns)))
    basis, upper = np.linalg.qr(drawn)
    basis = basis * np.sign(np.diagonal(upper))  # so that every orthogonal matrix is equally likely
    values = (basis if rows >= columns else basis.T).reshape(tuple(tensor.shape)) * gain
    with no_grad():
        return tensor.copy_(creation.tensor(values, dtype=tensor.dtype, device=tensor.device))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Values from a normal distribution, drawn again where they lie outside [a, b]."""
    if a >= b or std <= 0 or mean + 9 * std < a or mean - 9 * std > b:  # beyond, hardly a draw would ever be kept
        raise ArgumentError(f"trunc_normal_: expected a < b near the mean and std > 0, got {mean=}, {std=}, {a=}, {b=}")
    source = (generator or random.default_generator).numpy
    values = source.normal(mean, std, tuple(tensor.shape))
    while (outside := (values < a) | (values > b)).any():
        values[outside] = source.normal(mean, std, int(outside.sum()))
    with no_grad():
        return tensor.copy_(creation.tensor(values, dtype=tensor.dtype, device=tensor.device))


class InitShapeError(ShapeError, ValueError):
    """A shape that a scheme does not go with."""
