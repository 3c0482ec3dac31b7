"""Graphs with a known derivative: each is written once and runs in every library, and exactly.

``draw("stiff", 17)`` is always the same graph, called ``stiff:17``. `tools.oracle.classes` says what each class is.

>>> graph = draw("smooth", 0)
>>> f, tensors = graph.function("refengine"), graph.tensors("refengine")
>>> v = [np.ones_like(x) for x in graph.inputs]
>>> found, true = graph.curve(v)(0.0), graph.truth(v)
>>> found.shape == true.shape
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np

from tools.oracle import exact
from tools.oracle.libraries import library

WRONG = 1.0 + 1e-3

Constant = Any
"""None, a number, a pair of them, or an array."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One op: its name, its operands by number (inputs first, then earlier steps), its constant."""

    op: str
    operands: tuple[int, ...]
    constant: Constant = None


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A function of one or two float64 arrays of at most one axis, and a point.

    Attributes
    ----------
    kind : str
        Its class.
    seed : int
    inputs : tuple of arrays
        The point.
    steps : tuple of Step
        The last one's value is the output.
    notes : tuple of str
        What a count needs to know: "flat" (saturated throughout), "broken" (a derivative does not exist).
    """

    kind: str
    seed: int
    inputs: tuple[np.ndarray, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    _columns: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """``stiff:17``, as `--replay` takes it."""
        return f"{self.kind}:{self.seed}"

    @property
    def ops(self) -> tuple[str, ...]:
        """The names of its ops."""
        return tuple(step.op for step in self.steps)

    def tensors(self, name: str) -> list[Any]:
        """The point as tensors (leaves that require grad, where there are such)."""
        return [library(name).tensor(x) for x in self.inputs]

    def function(self, name: str, factor: float | None = None) -> Callable[..., Any]:
        """The graph as a function of a library's tensors.

        Parameters
        ----------
        name : str
            "numpy", "refengine", "torch", "jax", "autograd".
        factor : float or None
            What every gradient is multiplied by, wrongly; None leaves it right.
        """
        lib = library(name)
        made = [
            (lib.ops[s.op], s.operands, (lib.constant(s.constant),))
            if isinstance(s.constant, np.ndarray)
            else (lib.ops[s.op], s.operands, () if s.constant is None else (s.constant,))
            for s in self.steps
        ]
        distort = None if factor is None else lib.scaled(factor)

        def run(*tensors: Any) -> Any:
            values = list(tensors) if distort is None else [distort(x) for x in tensors]
            for op, operands, constant in made:
                values.append(op(*[values[k] for k in operands], *constant))
            return values[-1]

        return run

    def wrong(self, name: str) -> Callable[..., Any]:
        """The same with its gradient times 1 + 1e-3."""
        return self.function(name, WRONG)

    def curve(self, v: Sequence[np.ndarray]) -> Callable[[float], np.ndarray]:
        """The outputs at ``x + t * v`` as a flat array, in NumPy."""
        run = self.function("numpy")

        def phi(t: float) -> np.ndarray:
            with np.errstate(all="ignore"):
                return np.asarray(run(*[x + t * d for x, d in zip(self.inputs, v, strict=True)])).reshape(-1)

        return phi

    def values(self) -> np.ndarray:
        """The outputs, flat, to fifty digits (objects)."""
        with mpmath.workdps(exact.DIGITS):
            return self.values_at([exact.numbers(x) for x in self.inputs])

    def values_at(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """The outputs at other exact inputs, flat, to as many digits as mpmath is set to."""
        return self._exact([(x, exact.numbers(np.zeros(x.shape))) for x in inputs])[0].reshape(-1)

    def exact(self, v: Sequence[np.ndarray], side: int = 1) -> np.ndarray:
        """The derivative of each output along `v` to fifty digits (objects), flat.

        Parameters
        ----------
        v : sequence of arrays
            A direction for each input.
        side : 1 or -1
            Where there is a kink: the derivative from the right, or from the left.
        """
        with mpmath.workdps(exact.DIGITS):
            pairs = [
                (exact.numbers(x), exact.numbers(side * np.asarray(d))) for x, d in zip(self.inputs, v, strict=True)
            ]
            return self._exact(pairs)[1].reshape(-1) * side

    def truth(self, v: Sequence[np.ndarray], u: np.ndarray | None = None, side: int = 1) -> Any:
        """The derivative along `v`: of each output, flat, or of ``u @ outputs`` (a number)."""
        found = self.exact(v, side)
        if u is None:
            return found.astype(np.float64)
        with mpmath.workdps(exact.DIGITS):
            return float((exact.numbers(np.asarray(u).reshape(-1)) * found).sum())

    def jacobian(self, side: int = 1) -> np.ndarray:
        """All derivatives, shape (outputs, entries of all inputs); at a kink those along each axis, from one side."""
        if side not in self._columns:
            columns = []
            for k, x in enumerate(self.inputs):
                for entry in range(x.size):
                    v = [np.zeros_like(one) for one in self.inputs]
                    v[k].reshape(-1)[entry] = 1.0
                    columns.append(self.truth(v, side=side))
            self._columns[side] = np.array(columns).T
        return self._columns[side]

    def _exact(self, pairs: list[exact.Pair]) -> exact.Pair:
        values = list(pairs)
        for step in self.steps:
            operands = [values[k] for k in step.operands]
            rule = exact.RULES[step.op]
            found = rule(*operands) if step.constant is None else rule(*operands, step.constant)
            values.append((exact.boxed(found[0]), exact.boxed(found[1])))
        return values[-1]

    def __str__(self) -> str:
        lines = [f"{self.id}  {' '.join(self.notes)}"]
        lines += [f"  v{k} = {np.array2string(x, precision=17, floatmode='unique')}" for k, x in enumerate(self.inputs)]
        for k, step in enumerate(self.steps, len(self.inputs)):
            operands = ", ".join(f"v{j}" for j in step.operands)
            constant = "" if step.constant is None else f", {np.array2string(np.asarray(step.constant), precision=17)}"
            lines.append(f"  v{k} = {step.op}({operands}{constant})")
        return "\n".join(lines)


def draw(kind: str, seed: int) -> Graph:
    """The graph of a class with that number.

    Raises
    ------
    KeyError
        If there is no such class.
    """
    from tools.oracle import classes

    return classes.draw(kind, seed)


def replayed(identity: str) -> Graph:
    """The graph called ``class:seed``."""
    kind, _, seed = identity.partition(":")
    return draw(kind, int(seed))
