"""The parts of complex numbers: real and imaginary part, conjugate, angle."""

from __future__ import annotations

import math
from typing import Any

from refengine import dtypes
from refengine.backends.base import Array, Namespace
from refengine.errors import DTypeError
from refengine.layout import Shape
from refengine.op import Composite, Op, Unary, ViewOp
from refengine.spec import Interval
from refengine.tensor import Tensor


class RealView(ViewOp):
    """The real part of a complex tensor, in its memory."""

    name = "_real"
    group = ""
    backward_name = "SelectBackward0"
    holomorphic = False

    def bind(self, shape: Shape, source: Any) -> dict[str, Any]:
        return {"source": source.numpy}

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.real(x)

    def vjp(self, xp: Namespace, g: Array, *, source: Any) -> Array:
        return xp.astype(g, source)


class ImagView(RealView):
    """The imaginary part of a complex tensor, in its memory."""

    name = "_imag"

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.imag(x)

    def vjp(self, xp: Namespace, g: Array, *, source: Any) -> Array:
        return xp.astype(g, source) * 1j


class Real(Composite):
    """Return the real part, a view; a real tensor is returned as it is."""

    group = "elementwise"
    structure = "linear"

    def compose(self, x: Tensor) -> Tensor:
        return REAL(x, x.dtype) if x.is_complex() else x


class Imag(Composite):
    """Return the imaginary part of a complex tensor, a view.

    Raises
    ------
    DTypeError
        For a real tensor.
    """

    group = "elementwise"
    structure = "linear"
    form = "function"

    def accepts(self, shape: Shape) -> bool:
        return False  # drawn programs have real operands

    def compose(self, x: Tensor) -> Tensor:
        if not x.is_complex():
            raise DTypeError(f"imag: expected a complex tensor, got dtype={x.dtype.name}")
        return IMAG(x, x.dtype)


class ConjOfComplex(Unary):
    """The complex conjugate, a copy."""

    name = "_conj"
    group = ""
    kernel = "conj"
    backward_name = "ConjBackward0"
    floating = False
    inplace = False
    holomorphic = False

    def vjp(self, xp: Namespace, g: Array) -> Array:
        return xp.conj(g)


class Conj(Composite):
    """Return the complex conjugate, a copy; a real tensor is returned as it is."""

    group = "elementwise"
    structure = "linear"

    def compose(self, x: Tensor) -> Tensor:
        return CONJ(x) if x.is_complex() else x


class AngleOfComplex(Unary):
    """The angle of a complex number in the plane; the derivative at 0 is 0."""

    name = "_angle"
    group = ""
    inplace = False
    holomorphic = False
    backward_name = "AngleBackward0"

    def forward(self, xp: Namespace, x: Array) -> Array:
        return xp.atan2(xp.imag(x), xp.real(x))

    def vjp(self, xp: Namespace, g: Array, x: Array) -> Array:
        origin = xp.equal(x, 0)
        return xp.where(origin, 0.0, g * (x * 1j) / xp.square(xp.abs(xp.where(origin, 1.0, x))))


class Angle(Composite):
    """Return the angle in radians of a complex number; of a real one 0 or, where it is negative, pi: derivative 0."""

    group = "elementwise"
    structure = "other"
    domains = (Interval(-20.0, 20.0, avoid=(0.0,)),)

    def compose(self, x: Any) -> Tensor:
        if x.is_complex():
            return ANGLE(x)
        x = x if x.is_floating_point() else x.to(dtypes.default())
        return x.sign() * 0 + (x < 0).to(x.dtype) * math.pi  # type: ignore[no-any-return]


REAL, IMAG, CONJ, ANGLE = RealView(), ImagView(), ConjOfComplex(), AngleOfComplex()

OPS: tuple[Op, ...] = (Real(), Imag(), Conj(), Angle(), REAL, IMAG, CONJ, ANGLE)
