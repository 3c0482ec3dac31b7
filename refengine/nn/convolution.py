"""Convolution and pooling as modules."""

from __future__ import annotations

import math
from typing import Any

from refengine import creation
from refengine.creation import Device, DType
from refengine.errors import RangeError
from refengine.nn import functional, init
from refengine.nn.module import Module
from refengine.nn.parameter import Parameter
from refengine.tensor import Tensor

MODES = ("zeros", "reflect", "replicate", "circular")


def _pair(value: Any) -> Any:
    """One number for both axes as two."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


class Conv2d(Module):
    """The convolution of images with learned kernels.

    Parameters
    ----------
    in_channels, out_channels : int
        C before and after.
    kernel_size, stride, padding, dilation : int or (int, int)
        Of height and width; `padding` may be "valid" or "same" too.
    groups : int
        Into how many parts the channels are split that do not see each other.
    bias : bool
        Whether there is a bias.
    padding_mode : str
        What stands around the image: "zeros", "reflect", "replicate" or "circular".

    Raises
    ------
    RangeError
        If groups do not divide the channels, or a name is not known.

    Notes
    -----
    Weight, of shape (out_channels, in_channels / groups, *kernel_size), and bias are drawn evenly from ±1/sqrt(n), n
    the number of inputs of an output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, groups, padding, stride, padding_mode)
        self.in_channels, self.out_channels, self.groups, self.padding_mode = (
            in_channels,
            out_channels,
            groups,
            padding_mode,
        )
        self.kernel_size, self.stride, self.dilation = _pair(kernel_size), _pair(stride), _pair(dilation)
        self.padding: Any = padding if isinstance(padding, str) else _pair(padding)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(creation.empty(shape, device=device, dtype=dtype))
        empty = creation.empty(out_channels, device=device, dtype=dtype)
        self.register_parameter("bias", Parameter(empty) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        inputs = math.prod(self.weight.shape[1:])
        if self.bias is not None and inputs:
            init.uniform_(self.bias, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, in_channels, H, W) or (in_channels, H, W) → with out_channels and the number of places."""
        padding = self.padding
        if self.padding_mode != "zeros":
            for axis, sides in zip((-2, -1), self._sides(), strict=True):
                x = _framed(x, axis, sides, self.padding_mode)
            padding = 0
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _sides(self) -> list[tuple[int, int]]:
        """What is put before and behind each axis."""
        if self.padding == "valid":
            return [(0, 0), (0, 0)]
        if self.padding == "same":
            reach = [step * (size - 1) for step, size in zip(self.dilation, self.kernel_size, strict=True)]
            return [(far // 2, far - far // 2) for far in reach]
        return [(size, size) for size in self.padding]

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            value = getattr(self, name)
            parts += [] if value == default else [f"{name}={value}"]
        parts += [] if self.bias is not None else ["bias=False"]
        parts += [] if self.padding_mode == "zeros" else [f"padding_mode={self.padding_mode}"]
        return ", ".join(parts)


def _check(channels: int, outputs: int, groups: int, padding: Any, stride: Any, mode: str) -> None:
    """Raise where the options do not go together."""
    if groups <= 0 or channels % groups or outputs % groups:
        raise RangeError(f"Conv2d: expected groups to divide {channels} and {outputs} channels, got {groups=}")
    if isinstance(padding, str) and padding not in ("valid", "same"):
        raise RangeError(f'Conv2d: expected padding to be ints, "valid" or "same", got {padding!r}')
    if padding == "same" and _pair(stride) != (1, 1):
        raise RangeError(f'Conv2d: padding="same" is not supported for strided convolutions, got {stride=}')
    if mode not in MODES:
        raise RangeError(f"Conv2d: expected padding_mode to be one of {', '.join(MODES)}, got {mode!r}")


def _framed(x: Any, axis: int, sides: tuple[int, int], mode: str) -> Any:
    """The image with its own entries around it along one axis."""
    size, (before, behind) = x.shape[axis], sides
    if before > size - (mode == "reflect") or behind > size - (mode == "reflect"):
        raise RangeError(f"Conv2d: expected padding less than the image for {mode!r}, got {sides} for size {size}")
    return x.index_select(axis, creation.tensor([_source(i, size, mode) for i in range(-before, size + behind)]))


def _source(place: int, size: int, mode: str) -> int:
    """Which entry stands at a place that may lie outside."""
    if mode == "circular":
        return place % size
    if mode == "replicate":
        return min(max(place, 0), size - 1)
    return size - 1 - abs(size - 1 - abs(place))


class _Pool2d(Module):
    """A pooling of images."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode


class MaxPool2d(_Pool2d):
    """The maximum of each window; options are those of `functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.dilation, self.return_indices = dilation, return_indices

    def forward(self, x: Tensor) -> Any:
        """Shape (N, C, H, W) or (C, H, W) → with the number of places."""
        return functional.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(_Pool2d):
    """The mean of each window; options are those of `functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, C, H, W) or (C, H, W) → with the number of places."""
        return functional.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
