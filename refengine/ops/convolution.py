"""Convolution and pooling: a window moves over the last two axes."""

from __future__ import annotations

from math import prod
from typing import Any

from refengine import creation
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, DTypeError, RangeError, ShapeError
from refengine.layout import Shape, Window
from refengine.op import Composite, Op, Single
from refengine.operand import as_operand, same_dtype
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

SMALL = Interval(-5.0, 5.0)
MODERATE = Interval(-20.0, 20.0)


class Windows(Single):
    """Return what a window sees that moves over the last axes, a copy: (..., *window.kernel, *window.count)."""

    name = "_windows"
    group = ""

    def bind(self, shape: Shape, window: Window) -> dict[str, Any]:
        return {"window": window, "shape": tuple(shape)}

    def forward(self, xp: Namespace, x: Array, *, window: Window) -> Array:
        return xp.copy(xp.windows(x, window))

    def vjp(self, xp: Namespace, g: Array, *, window: Window, shape: Shape) -> Array:
        return xp.windows_add(g, window, shape)


class WindowsAdd(Single):
    """The transpose of `Windows`: add up what windows see."""

    name = "_windows_add"
    group = ""

    def bind(self, shape: Shape, window: Window, wanted: Shape) -> dict[str, Any]:
        return {"window": window, "shape": wanted}

    def forward(self, xp: Namespace, x: Array, *, window: Window, shape: Shape) -> Array:
        return xp.windows_add(x, window, shape)

    def vjp(self, xp: Namespace, g: Array, *, window: Window) -> Array:
        return xp.copy(xp.windows(g, window))  # what the windows see shares memory, and g's


def pair(name: str, what: str, value: Any, least: int) -> Shape:
    """A number for both axes, or one for each.

    Raises
    ------
    ArgumentError
        If it is neither.
    RangeError
        If a number is below `least`.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2 or not all(isinstance(one, int) for one in values):
        raise ArgumentError(f"{name}: expected {what} to be an int or two ints, got {value!r}")
    if min(values) < least:
        raise RangeError(f"{name}: expected {what} of at least {least}, got {value!r}")
    return values


# --- convolution ------------------------------------------------------------------------------------------------------


class Convolution(Op):
    """Return the sums of what a window sees, weighted by each row of `weight`, (N, C, ...) to (N, out, ...).

    The windows are laid out as columns, so that it is one matrix product an example and group; the columns are not
    saved, but laid out again.
    """

    name = "_convolution"
    backward_name = "ConvolutionBackward0"
    group = ""
    inputs = ("x", "weight")
    structure = "multilinear"

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Nothing is promoted."""
        return same_dtype(self, operands)

    def bind(self, x: Shape, weight: Shape, window: Window, groups: int) -> dict[str, Any]:
        taps, places = prod(weight[1:]), prod(window.count)
        return {
            "window": window,
            "spread": (*x[:2], *window.kernel, *window.count),
            "columns": (x[0], groups, taps, places),
            "rows": (groups, weight[0] // groups, taps),
            "outputs": (x[0], groups, weight[0] // groups, places),
            "result": (x[0], weight[0], *window.count),
            "x_shape": tuple(x),
            "weight_shape": tuple(weight),
        }

    def forward(
        self, xp: Namespace, x: Array, weight: Array, *, window: Window, columns: Shape, rows: Shape, result: Shape
    ) -> Array:
        product = xp.matmul(xp.reshape(weight, rows), xp.reshape(xp.windows(x, window), columns))
        return xp.reshape(product, result)

    def vjp_x(
        self,
        xp: Namespace,
        g: Array,
        weight: Array,
        *,
        window: Window,
        spread: Shape,
        rows: Shape,
        outputs: Shape,
        x_shape: Shape,
    ) -> Array:
        columns = xp.matmul(xp.reshape(weight, rows).mT, xp.reshape(xp.dense(g), outputs))
        return xp.windows_add(xp.reshape(columns, spread), window, x_shape)

    def vjp_weight(
        self,
        xp: Namespace,
        g: Array,
        x: Array,
        *,
        window: Window,
        columns: Shape,
        outputs: Shape,
        weight_shape: Shape,
    ) -> Array:
        seen = xp.reshape(xp.windows(x, window), columns)
        each = xp.matmul(xp.reshape(xp.dense(g), outputs), seen.mT)
        return xp.reshape(xp.sum(each, axis=(-4,)), weight_shape)


class Conv2d(Composite):
    """Return the convolution (without flipping: the cross-correlation) of x, (N, C, H, W) or (C, H, W), with `weight`.

    `weight` has the shape (out, C / groups, *kernel), `bias` (out,). `padding` is a number of zeros for both axes, or
    one for each, or "valid" (none), or "same" (as many as keep the size; one more behind where that is odd).

    Raises
    ------
    ShapeError
        If shapes, groups or channels do not go together, or the kernel is larger than x with its padding.
    DTypeError
        If the dtypes differ.
    """

    name = "conv2d"
    group = "linalg"
    form = "function"
    structure = "other"
    min_ndim = 3
    domains = (SMALL, SMALL)
    elsewhere = {"torch": "nn.functional.conv2d"}

    def compose(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        shape, kernel = tuple(as_operand(x, self.name).shape), tuple(as_operand(weight, self.name).shape)
        if len(shape) not in (3, 4) or len(kernel) != 4:
            raise ShapeError(
                f"conv2d: expected x of shape (N, C, H, W) or (C, H, W) and weight of shape (out, C / groups, kH, kW), "
                f"got {shape} and {kernel}"
            )
        _check_channels(shape[-3], kernel, bias, groups)
        window = _convolving(shape[-2:], kernel[2:], stride, padding, dilation)
        result = CONVOLUTION(x if len(shape) == 4 else x.unsqueeze(0), weight, window, groups)
        if bias is not None:
            result = sum(same_dtype(self, (result, bias.reshape(-1, 1, 1))))
        return result if len(shape) == 4 else result.squeeze(0)

    def accepts(self, shape: Shape) -> bool:
        return len(shape) in (3, 4) and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With and without bias, groups, strides, padding (names too) and dilation, as far as the sizes allow."""
        channels, *sizes = x.shape[-3:]
        groups = draw.choice((1, channels))
        kernel = tuple(draw.integer(1, min(size, 2)) for size in sizes)
        outputs = groups * draw.choice((1, 2))
        padding = draw.choice((0, 1, (0, 1), "valid", "same" if kernel == (1, 1) else (1, 0)))
        framed = [size + 2 * pad for size, pad in zip(sizes, _zeros(padding), strict=True)]
        fits = all(size >= 2 * taps - 1 for size, taps in zip(framed, kernel, strict=True))
        kwargs: dict[str, Any] = {"groups": groups} if groups > 1 else {}
        for name, options in (
            ("padding", (padding,)),
            ("stride", (1,) if padding == "same" else (1, 2, (2, 1))),
            ("dilation", (1, 2, (1, 2)) if fits else (1,)),
        ):
            chosen = draw.choice(options)
            kwargs |= {} if chosen in (0, 1) and name != "padding" else {name: chosen}
        weight = draw.operand((outputs, channels // groups, *kernel), SMALL)
        bias = (draw.operand((outputs,), SMALL),) if draw.boolean() else ()
        return Call((x, weight, *bias), kwargs)


def _zeros(padding: Any) -> Shape:
    """The zeros that a padding puts on each side, as far as a name does not leave that to the kernel."""
    return (0, 0) if isinstance(padding, str) else pair("conv2d", "padding", padding, 0)


def _check_channels(channels: int, weight: Shape, bias: Tensor | None, groups: int) -> None:
    """Raise where channels, groups, weight and bias do not go together."""
    if groups < 1:
        raise RangeError(f"conv2d: expected groups of at least 1, got {groups!r}")
    if weight[0] % groups or weight[1] * groups != channels:
        raise ShapeError(
            f"conv2d: expected {channels} channels = weight's size {weight[1]} at dim 1 times {groups} groups, and "
            f"weight's size {weight[0]} at dim 0 to be divisible by groups"
        )
    if bias is not None and tuple(bias.shape) != weight[:1]:
        raise ShapeError(f"conv2d: expected bias of shape {weight[:1]}, got {tuple(bias.shape)}")


def _convolving(sizes: Shape, kernel: Shape, stride: Any, padding: Any, dilation: Any) -> Window:
    """The window of a convolution."""
    stride, dilation = (pair("conv2d", *given, 1) for given in (("stride", stride), ("dilation", dilation)))
    reach = tuple(step * (taps - 1) for step, taps in zip(dilation, kernel, strict=True))
    if padding == "same" and stride != (1, 1):
        raise RangeError(f'conv2d: padding="same" is not supported for strided convolutions, got stride={stride}')
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise RangeError(f'conv2d: expected padding to be ints, "same" or "valid", got {padding!r}')
    if padding == "same":
        before, both = tuple(size // 2 for size in reach), reach
    else:
        before = _zeros(padding)
        both = tuple(2 * size for size in before)
    framed = tuple(size + zeros for size, zeros in zip(sizes, both, strict=True))
    if any(size <= far for size, far in zip(framed, reach, strict=True)):
        raise ShapeError(
            f"conv2d: expected a kernel that is no larger than x, got kernel {kernel}, dilation {dilation} "
            f"for sizes {framed} with padding"
        )
    count = tuple((size - far - 1) // step + 1 for size, far, step in zip(framed, reach, stride, strict=True))
    return Window(kernel, stride, dilation, before, count)


# --- pooling ----------------------------------------------------------------------------------------------------------


class ImageError(ShapeError, IndexError):
    """No image, nor a batch of them; PyTorch raises one type or the other."""


def _pooling(
    name: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Window:
    """The window of a pooling; in `ceil_mode` the last one may reach beyond the padding, but must begin before it."""
    sizes = tuple(as_operand(x, name).shape)[-2:]
    if x.ndim not in (3, 4) or 0 in x.shape[-3:]:
        raise ImageError(f"{name}: expected x of shape (N, C, H, W) or (C, H, W), got {tuple(x.shape)}")
    kernel = pair(name, "kernel_size", kernel_size, 1)
    stride = kernel if stride is None or stride in ([], ()) else pair(name, "stride", stride, 1)
    before, dilation = pair(name, "padding", padding, 0), pair(name, "dilation", dilation, 1)
    count = []
    for size, taps, step, zeros, apart in zip(sizes, kernel, stride, before, dilation, strict=True):
        if 2 * zeros > apart * (taps - 1) + 1:
            raise ShapeError(f"{name}: expected padding of at most half of the kernel, got {padding=}, {kernel_size=}")
        free = size + 2 * zeros - apart * (taps - 1) - 1
        places = (-(-free // step) if ceil_mode else free // step) + 1
        places -= bool(ceil_mode) and (places - 1) * step >= size + zeros
        if places < 1:
            raise ShapeError(f"{name}: kernel_size={kernel_size!r} is too large for x of shape {tuple(x.shape)}")
        count.append(places)
    return Window(kernel, stride, dilation, before, tuple(count))


class MaxPlaces(Op):
    """Return where in the flattened last two axes each window has its maximum: the first, or the last NaN.

    `places` has what the windows see of 1, 2, 3, ... in place of x: 0 is outside.
    """

    name = "_max_places"
    group = ""
    inputs = ("x", "places")
    differentiable = False

    def bind(self, x: Shape, places: Shape, window: Window) -> dict[str, Any]:
        return {"window": window, "wide": (*x[:-2], *window.count)}

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """As they are."""
        return operands

    def forward(self, xp: Namespace, x: Array, places: Array, *, window: Window, wide: Shape) -> Array:
        seen = xp.windows(x, window)
        best: Any = None
        found: Any = None
        for row in range(window.kernel[0]):
            for column in range(window.kernel[1]):
                value = xp.index(seen, (..., row, column, slice(None), slice(None)))
                place = xp.broadcast_to(xp.index(places, (row, column)), wide)
                if found is None:
                    best, found = value, place
                    continue
                higher = xp.logical_or(xp.greater(value, best), xp.isnan(value))
                taken = xp.logical_and(xp.greater(place, 0), xp.logical_or(higher, xp.equal(found, 0)))
                best, found = xp.where(taken, value, best), xp.where(taken, place, found)
        return found - 1


class PooledMax(Op):
    """The entries of the flattened last two axes at `indices`."""

    name = "_max_pool2d"
    backward_name = "MaxPool2DWithIndicesBackward0"
    group = ""
    inputs = ("x", "indices")
    constants = ("indices",)
    structure = "linear"

    def bind(self, x: Shape, indices: Shape) -> dict[str, Any]:
        lead = tuple(x[:-2])
        return {
            "flat": (*lead, prod(x[-2:])),
            "places": (*lead, prod(indices[-2:])),
            "result": tuple(indices),
            "shape": tuple(x),
        }

    def forward(self, xp: Namespace, x: Array, indices: Array, *, flat: Shape, places: Shape, result: Shape) -> Array:
        return xp.reshape(xp.take_along_axis(xp.reshape(x, flat), xp.reshape(indices, places), axis=-1), result)

    def vjp_x(self, xp: Namespace, g: Array, indices: Array, *, flat: Shape, places: Shape, shape: Shape) -> Array:
        added = xp.scatter_add(xp.reshape(g, places), xp.reshape(indices, places), axis=-1, shape=flat)
        return xp.reshape(added, shape)


class MaxPool2d(Composite):
    """Return the maximum of each window of x, (N, C, H, W) or (C, H, W); gradient at ties: to the first entry.

    What lies outside of x never counts. With `return_indices` also where the maxima lie in the flattened last two axes.

    Raises
    ------
    ShapeError
        If the window does not fit.
    """

    name = "max_pool2d"
    group = "reduction"
    form = "function"
    structure = "other"
    min_ndim = 3
    domains = (MODERATE,)
    kinks = (Kink("tie", "first"),)
    elsewhere = {"torch": "nn.functional.max_pool2d"}

    def compose(
        self,
        x: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        window = _pooling(self.name, x, kernel_size, stride, padding, dilation, ceil_mode)
        if x.dtype.name == "bool" or x.is_complex():
            raise DTypeError(f"max_pool2d: expected a dtype that is ordered, got {x.dtype.name}")
        height, width = x.shape[-2:]
        numbers: Any = creation.arange(1, height * width + 1, device=x.device)
        indices = MAX_PLACES(x, WINDOWS(numbers.reshape(height, width), window), window)
        result = POOLED_MAX(x, indices)
        return (result, indices) if return_indices else result

    def accepts(self, shape: Shape) -> bool:
        return len(shape) in (3, 4) and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Strides, padding, dilation and windows that reach beyond, as far as the sizes allow."""
        call = _sampled(draw, x)
        sides = zip(x.shape[-2:], call.kwargs.get("padding", (0, 0)), call.args[1], strict=True)
        if draw.boolean() and all(size + 2 * pad >= 2 * taps - 1 for size, pad, taps in sides):
            return Call(call.args, {**call.kwargs, "dilation": 2})
        return call


def _sampled(draw: Draw, x: Operand) -> Call:
    """A window that fits, of any stride and padding."""
    kernel = tuple(draw.integer(1, min(size, 2)) for size in x.shape[-2:])
    kwargs: dict[str, Any] = draw.choice(({}, {"stride": 1}, {"stride": (2, 1)}, {"stride": 2}))
    padding = tuple(size // 2 for size in kernel)
    kwargs = kwargs | draw.choice(({}, {"padding": padding}))
    return Call((x, kernel), kwargs | ({"ceil_mode": True} if draw.boolean() else {}))


class AvgPool2d(Composite):
    """Return the mean of each window of x, (N, C, H, W) or (C, H, W).

    Zeros around x are counted unless `count_include_pad` is False; `divisor_override` divides instead of the count.

    Raises
    ------
    ShapeError
        If the window does not fit.
    RangeError
        If the divisor is 0.
    """

    name = "avg_pool2d"
    group = "reduction"
    form = "function"
    structure = "linear"
    min_ndim = 3
    domains = (MODERATE,)
    elsewhere = {"torch": "nn.functional.avg_pool2d"}

    def compose(
        self,
        x: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        window = _pooling(self.name, x, kernel_size, stride, padding, 1, ceil_mode)
        if divisor_override == 0:
            raise RangeError("avg_pool2d: expected a divisor_override that is not 0, got 0")
        sums: Any = WINDOWS(x, window).sum((-4, -3))
        if divisor_override is not None:
            return sums / divisor_override  # type: ignore[no-any-return]
        rows, columns = (_counts(window, axis, x.shape[axis - 2], count_include_pad) for axis in (0, 1))
        if len({*rows}) == len({*columns}) == 1:
            return sums / (rows[0] * columns[0])  # type: ignore[no-any-return]
        return sums / Tensor(x.backend.array([[m * n for n in columns] for m in rows], x.array.dtype))  # type: ignore[no-any-return]

    def accepts(self, shape: Shape) -> bool:
        return len(shape) in (3, 4) and 0 not in shape

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Strides, padding, windows that reach beyond, every divisor."""
        call = _sampled(draw, x)
        divisor: dict[str, Any] = draw.choice(({}, {"count_include_pad": False}, {"divisor_override": 3}))
        return Call(call.args, {**call.kwargs, **divisor})


def _counts(window: Window, axis: int, size: int, with_padding: bool) -> list[int]:
    """How many entries of one axis each window averages over: those of x, and the zeros on both sides if they count."""
    zeros = window.before[axis]
    low, high = (-zeros, size + zeros) if with_padding else (0, size)
    starts = [place * window.stride[axis] - zeros for place in range(window.count[axis])]
    return [min(start + window.kernel[axis], high) - max(start, low) for start in starts]


WINDOWS, CONVOLUTION, MAX_PLACES, POOLED_MAX = Windows(), Convolution(), MaxPlaces(), PooledMax()

OPS: tuple[Op, ...] = (
    Conv2d(), MaxPool2d(), AvgPool2d(), WINDOWS, WindowsAdd(), CONVOLUTION, MAX_PLACES, POOLED_MAX,
)  # fmt: skip
