"""Activations: rectifiers and their smooth relatives, sigmoids, softmax."""

from __future__ import annotations

import math
from typing import Any

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, ShapeError
from refengine.layout import Shape
from refengine.op import Composite, Op, Single, Unary
from refengine.spec import Call, Draw, Interval, Kink, Operand
from refengine.tensor import Tensor

KINKED = Interval(-20.0, 20.0, avoid=(0.0,))
SMOOTH = Interval(-8.0, 8.0)
SQRT_HALF = math.sqrt(0.5)
SQRT_TWO_OVER_PI = math.sqrt(2.0 / math.pi)
INV_SQRT_TWO_PI = 1.0 / math.sqrt(2.0 * math.pi)
TANH_CUBIC = 0.044715
"""Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2: the cubic term of the tanh approximation."""
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
"""Klambauer et al., "Self-Normalizing Neural Networks", 2017, equation 14."""


class _Activation(Unary):
    """One input and numbers."""

    group = "activation"
    domains = (KINKED,)


class Relu(_Activation):
    """Return max(x, 0). The derivative at 0 is 0."""

    floating = False
    kinks = (Kink(0.0),)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.maximum(x, 0)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return xp.where(xp.less_equal(out, 0), 0, g)


class Relu6(_Activation):
    """Return min(max(x, 0), 6). The derivative at 0 and 6 is 0."""

    form = "function"
    floating = False
    elsewhere = {"torch": "nn.functional.relu6"}
    domains = (Interval(-20.0, 20.0, avoid=(0.0, 6.0)),)
    kinks = (Kink(0.0), Kink(6.0))

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.minimum(xp.maximum(x, 0), 6)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return xp.where(xp.logical_or(xp.less_equal(x, 0), xp.greater_equal(x, 6)), 0, g)


class Hardtanh(_Activation):
    """Return x limited to [min_val, max_val]. The derivative at the limits is 0."""

    form = "function"
    elsewhere = {"torch": "nn.functional.hardtanh"}
    domains = (Interval(-20.0, 20.0, avoid=(-1.0, 1.0, 2.5)),)
    kinks = (Kink(-1.0), Kink(1.0))

    def bind(self, shape: Shape, min_val: float = -1.0, max_val: float = 1.0) -> dict[str, Any]:
        if min_val > max_val:
            raise ArgumentError(f"hardtanh: expected min_val <= max_val, got {min_val=} and {max_val=}; swap them")
        return {"low": min_val, "high": max_val}

    def forward(self, xp: Namespace, x: Array, *, low: float, high: float) -> Array:
        return xp.minimum(xp.maximum(x, low), high)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, low: float, high: float) -> Array:
        return xp.where(xp.logical_or(xp.less_equal(x, low), xp.greater_equal(x, high)), 0, g)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With the default limits, or a wider upper one."""
        return Call((x,), draw.choice(({}, {"max_val": 2.5}, {"min_val": -1.0, "max_val": 1.0})))


class LeakyRelu(_Activation):
    """Return x where x > 0, else negative_slope * x. The derivative at 0 is negative_slope."""

    form = "function"
    elsewhere = {"torch": "nn.functional.leaky_relu"}
    kinks = (Kink(0.0, 0.01),)

    def bind(self, shape: Shape, negative_slope: float = 0.01) -> dict[str, Any]:
        return {"slope": negative_slope}

    def forward(self, xp: Namespace, x: Array, *, slope: float) -> Array:
        return xp.where(xp.greater(x, 0), x, x * slope)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, slope: float) -> Array:
        return xp.where(xp.greater(x, 0), g, g * slope)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every kind of slope."""
        return Call((x,), draw.choice(({}, {"negative_slope": 0.2}, {"negative_slope": 0.0}, {"negative_slope": 1.5})))


class Elu(_Activation):
    """Return x where x > 0, else alpha * (e**x - 1). The derivative at 0 is alpha."""

    form = "function"
    elsewhere = {"torch": "nn.functional.elu"}
    domains = (Interval(-6.0, 6.0, avoid=(0.0,)),)
    kinks = (Kink(0.0, 1.0),)

    def bind(self, shape: Shape, alpha: float = 1.0) -> dict[str, Any]:
        return {"alpha": alpha}

    def forward(self, xp: Namespace, x: Array, *, alpha: float) -> Array:
        return xp.where(xp.greater(x, 0), x, xp.expm1(xp.minimum(x, 0)) * alpha)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, alpha: float) -> Array:
        low = xp.less_equal(x, 0)
        return xp.where(low, g * (xp.exp(xp.where(low, x, 0.0)) * alpha), g)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With and without alpha."""
        return Call((x,), draw.choice(({}, {"alpha": 0.5}, {"alpha": 2.0})))


class Celu(_Activation):
    """Return x where x > 0, else alpha * (e**(x / alpha) - 1). The derivative at 0 is 1."""

    form = "function"
    elsewhere = {"torch": "nn.functional.celu"}
    domains = (Interval(-6.0, 6.0, avoid=(0.0,)),)

    def bind(self, shape: Shape, alpha: float = 1.0) -> dict[str, Any]:
        if alpha == 0:
            raise ShapelessArgument("celu: expected an alpha that is not 0, got 0")
        return {"alpha": alpha}

    def forward(self, xp: Namespace, x: Array, *, alpha: float) -> Array:
        return xp.where(xp.greater(x, 0), x, xp.expm1(xp.minimum(x, 0) / alpha) * alpha)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, alpha: float) -> Array:
        low = xp.less_equal(x, 0)
        return xp.where(low, g * xp.exp(xp.where(low, x, 0.0) / alpha), g)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """With and without alpha."""
        return Call((x,), draw.choice(({}, {"alpha": 0.5}, {"alpha": 2.0})))


class Mish(_Activation):
    """Return x * tanh(log(1 + e**x)), without overflow."""

    form = "function"
    elsewhere = {"torch": "nn.functional.mish"}
    domains = (SMOOTH,)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return x * self._gate(xp, x)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        gate = self._gate(xp, x)
        return g * (gate + x * ((1 - gate * gate) * xp.expit(x)))

    def _gate(self, xp: Namespace, x: Array) -> Array:
        """tanh(log(1 + e**x)) as a fraction of polynomials in e**x; 1 to the last digit beyond 20."""
        beyond = xp.greater(x, 20)
        e = xp.exp(xp.where(beyond, 0.0, x))
        n = e * (e + 2)
        return xp.where(beyond, 1.0, n / (n + 2))


class Hardswish(_Activation):
    """Return x times x / 6 + 1 / 2 limited to [0, 1]. The derivative at -3 is 0, and at 3 it is 1."""

    form = "function"
    elsewhere = {"torch": "nn.functional.hardswish"}
    domains = (Interval(-20.0, 20.0, avoid=(-3.0, 3.0)),)
    kinks = (Kink(-3.0), Kink(3.0, 1.0))

    def forward(self, xp: Namespace, x: Array) -> Array:
        return x * (xp.minimum(xp.maximum(x + 3, 0), 6) / 6)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        inside = g * (x / 3 + 0.5)
        return xp.where(xp.less_equal(x, -3), 0, xp.where(xp.greater_equal(x, 3), g, inside))


class Selu(_Activation):
    """Return scale * elu(x, alpha), constants of self-normalizing networks. The derivative at 0 is scale * alpha."""

    form = "function"
    elsewhere = {"torch": "selu"}
    domains = (Interval(-6.0, 6.0, avoid=(0.0,)),)
    kinks = (Kink(0.0, SELU_SCALE * SELU_ALPHA),)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.where(xp.greater(x, 0), x, xp.expm1(xp.minimum(x, 0)) * SELU_ALPHA) * SELU_SCALE

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        low = xp.less_equal(x, 0)
        return g * xp.where(low, xp.exp(xp.where(low, x, 0.0)) * (SELU_SCALE * SELU_ALPHA), SELU_SCALE)


class Gelu(_Activation):
    """Return x * Phi(x), Phi the normal distribution function; its tanh approximation with approximate="tanh"."""

    form = "function"
    elsewhere = {"torch": "nn.functional.gelu"}
    inplace = False
    domains = (Interval(-4.0, 4.0),)

    def bind(self, shape: Shape, *, approximate: str = "none") -> dict[str, Any]:
        if approximate not in ("none", "tanh"):
            raise ShapelessArgument(f"gelu: expected approximate to be 'none' or 'tanh', got {approximate!r}")
        return {"tanh": approximate == "tanh"}

    def forward(self, xp: Namespace, x: Array, *, tanh: bool) -> Array:
        if tanh:
            return x * 0.5 * (xp.tanh((x + x * x * x * TANH_CUBIC) * SQRT_TWO_OVER_PI) + 1)
        return x * 0.5 * xp.erfc(x * -SQRT_HALF)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, tanh: bool) -> Array:
        if not tanh:
            density = xp.exp(x * x * -0.5) * INV_SQRT_TWO_PI
            return g * (xp.erfc(x * -SQRT_HALF) * 0.5 + x * density)
        inner = xp.tanh((x + x * x * x * TANH_CUBIC) * SQRT_TWO_OVER_PI)
        slope = (x * x * (3 * TANH_CUBIC) + 1) * SQRT_TWO_OVER_PI
        return g * ((inner + 1) * 0.5 + x * 0.5 * (1 - inner * inner) * slope)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Both forms."""
        return Call((x,), {"approximate": "tanh"} if draw.boolean() else {})


class ShapelessArgument(ArgumentError, RuntimeError):
    """A keyword with a value that is not offered."""


class Sigmoid(_Activation):
    """Return 1 / (1 + e**-x)."""

    kernel = "expit"
    domains = (SMOOTH,)

    def vjp(self, xp: Namespace, g: Array, out: Array) -> Array:
        return g * (out * (1 - out))


class Silu(_Activation):
    """Return x * sigmoid(x)."""

    form = "function"
    elsewhere = {"torch": "nn.functional.silu"}
    domains = (SMOOTH,)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return x * xp.expit(x)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        sigmoid = xp.expit(x)
        return g * (sigmoid * (x * (1 - sigmoid) + 1))


class Softplus(_Activation):
    """Return log(1 + e**(beta * x)) / beta; x itself where beta * x > threshold."""

    form = "function"
    elsewhere = {"torch": "nn.functional.softplus"}
    inplace = False
    domains = (Interval(-8.0, 6.0),)

    def bind(self, shape: Shape, beta: float = 1.0, threshold: float = 20.0) -> dict[str, Any]:
        return {"beta": beta, "threshold": threshold}

    def forward(self, xp: Namespace, x: Array, *, beta: float, threshold: float) -> Array:
        scaled = x * beta
        beyond = xp.greater(scaled, threshold)
        return xp.where(beyond, x, xp.log1p(xp.exp(xp.where(beyond, 0.0, scaled))) / beta)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, beta: float, threshold: float) -> Array:
        return xp.where(xp.greater(x * beta, threshold), g, g * xp.expit(x * beta))

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Steeper and flatter ones; the threshold stays out of the domain's reach."""
        return Call((x,), draw.choice(({}, {"beta": 2.0}, {"beta": 0.5, "threshold": 30.0})))


class Softsign(_Activation):
    """Return x / (1 + |x|)."""

    form = "function"
    elsewhere = {"torch": "nn.functional.softsign"}
    inplace = False

    def forward(self, xp: Namespace, x: Array) -> Array:
        return x / (xp.abs(x) + 1)

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g / xp.square(xp.abs(x) + 1)


class Logsigmoid(_Activation):
    """Return log(sigmoid(x)) without overflow."""

    form = "function"
    backward_name = "LogSigmoidBackward0"
    elsewhere = {"torch": "nn.functional.logsigmoid"}
    inplace = False
    domains = (SMOOTH,)

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        return g * xp.expit(-x)


class Softmax(Single):
    """Return e**x over its sum along `dim`, without overflow; `dtype` casts first."""

    group = "activation"
    structure = "other"
    backward_name = "SoftmaxBackward0"
    domains = (SMOOTH,)

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Cast first, and refuse integers."""
        dtype = kwargs.pop("dtype", None)
        if dtype is not None and isinstance(args[0], Tensor):
            args = (args[0].to(dtype), *args[1:])
        return super().prepare(args, kwargs)

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """No integers."""
        operands = super().convert(operands)
        if not operands[0].dtype.is_differentiable:
            raise NotImplementedDType(
                f"{self.name}: not implemented for {operands[0].dtype.name}; convert it with to(...) first"
            )
        return operands

    def bind(self, shape: Shape, dim: Any, *, dtype: Any = None) -> dict[str, Any]:
        axis = layout.axis(dim, len(shape))
        return {"axis": (axis,) if shape else (), "empty": 0 in shape}

    def forward(self, xp: Namespace, x: Array, *, axis: Shape, empty: bool) -> Array:
        if empty:
            return xp.exp(x)
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        return e / xp.sum(e, axis=axis, keepdims=True)

    def vjp(self, xp: Namespace, g: Array, out: Array, *, axis: Shape) -> Array:
        weighted = g * out
        return weighted - out * xp.sum(weighted, axis=axis, keepdims=True)

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, draw.axis(x.ndim)))


class LogSoftmax(Softmax):
    """Return x - logsumexp(x) along `dim`; `dtype` casts first."""

    backward_name = "LogSoftmaxBackward0"

    def forward(self, xp: Namespace, x: Array, *, axis: Shape, empty: bool) -> Array:
        if empty:
            return xp.copy(x)
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))

    def vjp(self, xp: Namespace, g: Array, out: Array, *, axis: Shape) -> Array:
        return g - xp.exp(out) * xp.sum(g, axis=axis, keepdims=True)


class NotImplementedDType(ArgumentError, NotImplementedError):
    """A dtype that the operation has no kernel for."""


class Softmin(Composite):
    """Return softmax(-x) along `dim`."""

    group = "activation"
    form = "function"
    elsewhere = {"torch": "nn.functional.softmin"}
    domains = (SMOOTH,)

    def compose(self, x: Tensor, dim: int) -> Tensor:
        return SOFTMAX(-x, dim)

    def sample(self, draw: Draw, x: Operand) -> Call:
        return Call((x, draw.axis(x.ndim)))


class Glu(Single):
    """Return a * sigmoid(b), a and b the halves of x along `dim`.

    Raises
    ------
    ShapeError
        If that axis has an odd size.
    """

    group = "activation"
    form = "function"
    structure = "other"
    floating = True
    min_ndim = 1
    elsewhere = {"torch": "nn.functional.glu"}
    domains = (SMOOTH,)

    def bind(self, shape: Shape, dim: int = -1) -> dict[str, Any]:
        if not shape:
            raise ShapeError("glu: expected a tensor with dimensions, got a 0-d one")
        axis = layout.axis(dim, len(shape))
        if shape[axis] % 2:
            raise ShapeError(f"glu: expected an even size at dim {dim}, got shape {shape}")
        return {"axis": axis, "half": shape[axis] // 2}

    def forward(self, xp: Namespace, x: Array, *, axis: int, half: int) -> Array:
        a, b = self._halves(xp, x, axis, half)
        return a * xp.expit(b)

    def vjp(self, xp: Namespace, g: Array, x: Array, *, axis: int, half: int) -> Array:
        a, b = self._halves(xp, x, axis, half)
        gate = xp.expit(b)
        return xp.concat([g * gate, g * (a * (gate * (1 - gate)))], axis=axis)

    def _halves(self, xp: Namespace, x: Array, axis: int, half: int) -> tuple[Array, Array]:
        behind = (slice(None),) * (-axis - 1)
        return xp.index(x, (..., slice(0, half), *behind)), xp.index(x, (..., slice(half, None), *behind))

    def accepts(self, shape: Shape) -> bool:
        return any(size % 2 == 0 for size in shape)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Along an even axis."""
        even = [i for i, size in enumerate(x.shape) if size % 2 == 0]
        axis = draw.choice(even)
        return Call((x, axis - x.ndim if draw.boolean() else axis))


SOFTMAX = Softmax()

OPS: tuple[Op, ...] = (
    Relu(), Relu6(), Hardtanh(), LeakyRelu(), Elu(), Selu(), Gelu(), Sigmoid(), Silu(), Softplus(), Softsign(),
    Logsigmoid(), SOFTMAX, LogSoftmax(), Softmin(), Glu(), Celu(), Mish(), Hardswish(),
)  # fmt: skip
