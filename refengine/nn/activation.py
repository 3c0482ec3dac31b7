"""Activations as modules."""

from __future__ import annotations

from typing import Any, ClassVar

from refengine import creation
from refengine.creation import Device, DType
from refengine.nn import functional
from refengine.nn.init import constant_
from refengine.nn.module import Module
from refengine.nn.parameter import Parameter
from refengine.tensor import Tensor


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x.tanh()


class Sigmoid(Module):
    """1 / (1 + e**-x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x.sigmoid()


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return functional.softsign(x)


class LogSigmoid(Module):
    """log(1 / (1 + e**-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return functional.logsigmoid(x)


class _InPlace(Module):
    """An activation that may write its result into its input."""

    name: ClassVar[str] = ""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def _arguments(self) -> dict[str, Any]:
        """Keywords of the function."""
        return {}

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return getattr(functional, self.name)(x, **self._arguments(), inplace=self.inplace)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        own = ", ".join(f"{name}={value}" for name, value in self._arguments().items())
        return ", ".join(part for part in (own, "inplace=True" if self.inplace else "") if part)


class ReLU(_InPlace):
    """max(x, 0); the derivative at 0 is 0."""

    name = "relu"


class ReLU6(_InPlace):
    """min(max(x, 0), 6); the derivative at 0 and 6 is 0."""

    name = "relu6"


class SiLU(_InPlace):
    """x / (1 + e**-x)."""

    name = "silu"


class SELU(_InPlace):
    """The self-normalizing scaled exponential linear unit."""

    name = "selu"


class Mish(_InPlace):
    """x * tanh(log(1 + e**x))."""

    name = "mish"


class Hardswish(_InPlace):
    """x times x / 6 + 1 / 2 limited to [0, 1]."""

    name = "hardswish"

    def extra_repr(self) -> str:
        return ""


class Hardtanh(_InPlace):
    """x limited to [min_val, max_val]."""

    name = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val, self.max_val = min_val, max_val

    def _arguments(self) -> dict[str, Any]:
        return {"min_val": self.min_val, "max_val": self.max_val}


class LeakyReLU(_InPlace):
    """x where x > 0, else negative_slope * x."""

    name = "leaky_relu"

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def _arguments(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class ELU(_InPlace):
    """x where x > 0, else alpha * (e**x - 1)."""

    name = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def _arguments(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class CELU(_InPlace):
    """x where x > 0, else alpha * (e**(x / alpha) - 1)."""

    name = "celu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def _arguments(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class PReLU(Module):
    """x where x > 0, else weight * x, with one learned weight or one for each entry of the second axis.

    Parameters
    ----------
    num_parameters : int
        1, or the size of the second axis.
    init : float
        The weights' first value.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Device = None, dtype: DType = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(creation.full((num_parameters,), float(init), device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Weights to their first value."""
        constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return functional.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class GELU(Module):
    """x times the normal distribution function, or its approximation by tanh."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return functional.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + e**(beta * x)) / beta; x itself where beta * x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return functional.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class _AlongAxis(Module):
    """An activation along one axis, which PyTorch guesses if it is None; here it must be said."""

    name: ClassVar[str] = ""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        return getattr(functional, self.name)(x, dim=self.dim)  # type: ignore[no-any-return]


class Softmax(_AlongAxis):
    """e**x over its sum along `dim`."""

    name = "softmax"

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(_AlongAxis):
    """The logarithm of softmax, without overflow."""

    name = "log_softmax"

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(_AlongAxis):
    """Softmax of -x."""

    name = "softmin"

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GLU(Module):
    """One half of x along `dim` times the sigmoid of the other."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """The axis becomes half as long."""
        return functional.glu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
