"""Functions of one variable whose derivative is known to fifty digits, by class: what the oracle is tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

CLASSES = ("smooth", "ill-scaled", "stiff", "near kink", "edge", "saturated")


@dataclass(frozen=True)
class Case:
    """A function of x at `point`, written once for NumPy and mpmath (`lib` has sin, exp, ... of either)."""

    name: str
    formula: Callable[[Any, Any], Any]
    point: float
    step: float

    def curve(self, t: float) -> np.ndarray:
        """The function along x = point + t * step, as the oracle samples it."""
        return np.array([self.formula(np, np.float64(self.point + t * self.step))], dtype=np.float64)

    def truth(self) -> float:
        """The derivative in t at 0, rounded once."""
        with mpmath.workdps(60):
            x, step = mpmath.mpf(self.point), mpmath.mpf(self.step)
            return float(mpmath.diff(lambda t: self.formula(_MP, x + t * step), 0, h=mpmath.mpf(10) ** -30))


class _Mp:
    """NumPy's names over mpmath."""

    sin, cos, exp, tanh, log, sqrt, cosh = (
        staticmethod(f) for f in (mpmath.sin, mpmath.cos, mpmath.exp, mpmath.tanh, mpmath.log, mpmath.sqrt, mpmath.cosh)
    )
    abs = staticmethod(abs)


_MP = _Mp()

_SMOOTH: tuple[tuple[str, Callable[[Any, Any], Any]], ...] = (
    ("sin", lambda m, x: m.sin(x)),
    ("exp", lambda m, x: m.exp(x)),
    ("cube", lambda m, x: x * x * x - 2 * x),
    ("tanh", lambda m, x: m.tanh(x)),
    ("witch", lambda m, x: 1 / (1 + x * x)),
    ("sigmoid of square", lambda m, x: 1 / (1 + m.exp(-x * x))),
    ("log of cosh", lambda m, x: m.log(m.cosh(x))),
    ("product", lambda m, x: m.sin(x) * m.exp(-x) * (x - 3)),
    ("norm", lambda m, x: m.sqrt(1 + x * x + m.sin(x) ** 2)),
    ("cancelling", lambda m, x: 1000 * (m.exp(x) + 1) - 1000 * m.exp(x) + x),
)


def draw(random: np.random.Generator, group: str) -> Case:
    """One case of a class."""
    name, f = _SMOOTH[int(random.integers(len(_SMOOTH)))]
    point = float(np.round(random.uniform(-2.0, 2.0), 4))
    step = float(
        random.choice([-1.0, 1.0]) * random.integers(64, 256) / 128 * 2.0 ** np.rint(np.log2(max(abs(point), 0.1)))
    )
    if group == "ill-scaled":
        size, height = 10.0 ** random.uniform(-6, 6, size=2)
        a, b = 2.0 ** round(np.log2(size)), float(height)
        return Case(f"{name} x {a:g}", lambda m, x: f(m, x / a) * b, point * a, step * a)
    if group == "stiff":
        w = float(10.0 ** random.uniform(1.0, 4.5))
        shapes: tuple[tuple[str, Callable[[Any, Any], Any]], ...] = (
            ("fast wave", lambda m, x: m.sin(w * x) + x),
            ("steep exponential", lambda m, x: m.exp(-30 * x)),
            ("thin step", lambda m, x: m.tanh(w * (x - point) + 0.3) + m.sin(x)),
        )
        name, f = shapes[int(random.integers(3))]
    if group == "near kink":
        d = float(10.0 ** random.uniform(-9, -1) * random.choice([-1.0, 1.0]))
        return Case(f"{name} kink at {d:g}", lambda m, x: f(m, x) + m.abs(x - (point + d)), point, step)
    if group == "edge":
        d = float(10.0 ** random.uniform(-6, -1))
        edges: tuple[Callable[[Any, Any], Any], ...] = (
            lambda m, x: m.log(x),
            lambda m, x: m.sqrt(x),
            lambda m, x: 1 / x,
        )
        return Case(f"edge at {d:g}", edges[int(random.integers(3))], d, step)
    if group == "saturated":
        point = float(random.uniform(3.0, 40.0) * random.choice([-1.0, 1.0]))
        return Case("saturated tanh", lambda m, x: m.tanh(x), point, point)
    return Case(name, f, point, step)
