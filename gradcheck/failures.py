"""Typed failures: what a disagreement shows, and the exceptions that carry it or refuse bad input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck.mistake import Mistake
    from gradcheck.program import Array
    from gradcheck.report.result import Report


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The arrays that show a failure again, with their layouts. Complex tensors are pairs of real ones here.

    Attributes
    ----------
    inputs : tuple of arrays
        What the function is called with.
    differentiable : tuple of bool
        Which of them are differentiated.
    cotangents : tuple of arrays
        One for each floating output; empty where the claim needs none. For a wrong entry of a gradient, those for which
        `Finding.analytic` and `Finding.numeric` are the two values of that entry.
    position : int or None
        The input that `Finding.entry` is an entry of; past the inputs (GC104), a cotangent.
    output : int or None
        The floating output that `Finding.entry` is an entry of, where a value is wrong and no gradient.
    way : str
        What of the claim fails, where it says several things: "raised", "misfit", "first", "second", ...
    others : tuple of arrays
        The inputs of the other call (GC602); `way` says which of the two calls `inputs` are those of.
    second : tuple of arrays
        A second cotangent for each output (GC103, GC601), or one for each gradient (GC104, GC109).
    third : tuple of arrays
        A cotangent for each second derivative (GC109).
    factors : tuple of float
        Of the first and of the second cotangent (GC103).
    directions : tuple of arrays
        A tangent for each differentiated input (GC102), or the signs of the moves of inputs and cotangents (GC701).
    subset : tuple of bool
        Which inputs alone required grad when it failed (GC603); empty where all of `differentiable` did.
    axes : tuple of int or None
        The axis of the examples of each input that is a batch (GC105).
    used : tuple of bool
        The outputs that are used where it fails (GC604).
    """

    inputs: tuple[Array, ...]
    differentiable: tuple[bool, ...]
    cotangents: tuple[Array, ...] = ()
    position: int | None = None
    output: int | None = None
    way: str = ""
    others: tuple[Array, ...] = ()
    second: tuple[Array, ...] = ()
    third: tuple[Array, ...] = ()
    factors: tuple[float, ...] = ()
    directions: tuple[Array, ...] = ()
    axes: tuple[int | None, ...] = ()
    used: tuple[bool, ...] = ()
    subset: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement, ready to be printed.

    Attributes
    ----------
    claim, code, sentence : str
        The claim's name, its code ("GC101") and the claim in one sentence.
    engine : str
        "torch-cpu", "refengine-cpu", ...
    call : str
        The minimal failing call as source text (a program's script lines, or ``MyFunction.apply(x, y)``).
    where : str or None
        ``path/ops.py:41 in RowMax.backward`` where it is known.
    argument : str or None
        Which input the gradient belongs to, with shape, dtype and strides.
    entry : tuple of int or None
        The entry of that input.
    values : str or None
        The inputs' values, shortened.
    analytic, numeric, error : float or complex or None
        The two derivatives and the estimated error of the numerical one, in the units of output over input.
    detail : str
        What else is known, one sentence or "".
    mistake : Mistake or None
        The usual mistake that it looks like.
    only_here : bool
        It is wrong at this point only: beside it, on both sides, the gradients agree.
    extent : str
        How many entries of the gradient are wrong where several are, and the first of them; else "".
    block : str
        A small block of the Jacobian around the entry, in lines; "" where it says no more than the entry.
    replay : str or None
        The short id to give to ``--gradcheck-replay``.
    evidence : Evidence or None
        The arrays that show it again.
    """

    claim: str
    code: str
    sentence: str
    engine: str
    call: str
    where: str | None = None
    argument: str | None = None
    entry: tuple[int, ...] | None = None
    values: str | None = None
    analytic: complex | float | None = None
    numeric: complex | float | None = None
    error: float | None = None
    detail: str = ""
    mistake: Mistake | None = None
    only_here: bool = False
    extent: str = ""
    block: str = ""
    replay: str | None = None
    evidence: Evidence | None = field(default=None, repr=False, compare=False)


OFF_DOMAIN = (ArithmeticError, ValueError, RuntimeError, IndexError)
"""What a function raises at a point that it is not defined at."""


class GradcheckError(Exception):
    """Base of every exception that gradcheck raises."""


class GradcheckFailure(GradcheckError, AssertionError):
    """A check disagreed (or was inconclusive where agreement was demanded). Carries the report as `report`."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


class UsageError(GradcheckError, ValueError):
    """Bad input: names the value, the place and the remedy in one line."""


class Unsupported(GradcheckError):
    """The function or the engine refuses what a claim needs (no forward-mode rule, once differentiable): no verdict."""


def said(error: BaseException) -> str:
    """The first line of what an exception says, or the name of its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def named(error: BaseException) -> str:
    """``ValueError: three entries``: the class of an exception and the first line of what it says, if anything."""
    line, name = said(error), type(error).__name__
    return name if line == name else f"{name}: {line}"
