"""The derivative of one op along a tangent, from the op's own forward and from nothing else.

Each way but the ladder rests on something declared of the op; with `is_tried` that is looked at first, and None says
that it does not hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gradcheck.checks.evaluation import flat
from gradcheck.checks.laid import laid, strides_of
from gradcheck.failures import OFF_DOMAIN
from gradcheck.numeric.complex_step import STEP
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import EFFORTS, EPSILON, Floats, Ladder
from gradcheck.program import Array

# A ladder of one op that is no better than this (relative to the derivative's largest entry) is asked for more.
FINE = 1e-10
# Step of the plain quotients that a complex step is compared with, in units of the operand's size over the tangent's;
# part of the derivative, and round-offs of the function over the step, that they may differ by.
PLAIN = 2.0**-20
PLAIN_PART = 2.0**-10
PLAIN_ROUNDOFFS = 16.0
# What a function that is zero at the point is taken to be: x**2 at 0 is (PLAIN * t)**2 next to it.
TINY_VALUE = 2.0**-52
# Part by which f(x + t) - f(x) and f(t) - f(0) of a linear op may differ: a wrong structure shows in every digit.
LINEAR_PART = 1e-9
# Reductions that are linear.
LINEAR_REDUCTIONS = frozenset({"sum", "mean"})

Arrays = tuple[Array, ...]
Op = Callable[[Sequence[Array]], Arrays]
"""One step as a function of its floating operands, one for each place where one stands."""


def floating(results: Arrays) -> list[Array]:
    """The floating ones of an op's results."""
    return [y for y in results if y.dtype.kind == "f"]


@cache
def structure(op: str) -> str:
    """What of its declaration a tangent may use: "linear", "multilinear", "analytic" (elementwise) or ""."""
    declared = _declared().get(op)
    if declared is None:
        return ""
    if declared.structure == "linear" or declared.group == "shape" or op in LINEAR_REDUCTIONS:
        return "linear"
    if declared.structure == "elementwise":
        return "" if declared.kinks else "analytic"
    return "multilinear" if declared.structure == "multilinear" else ""


@cache
def is_differentiable(op: str) -> bool:
    """Whether the op has a derivative that is not zero by declaration."""
    declared = _declared().get(op)
    return declared is None or (declared.differentiable and not declared.boolean)


@cache
def _declared() -> dict[str, Any]:
    from refengine import catalogue

    return {op.name: op for op in catalogue.ops(hidden=True)}


def pushed(
    way: str, op: Op, values: list[Array], tangents: list[Array], results: Arrays, *, is_tried: bool
) -> list[Array] | None:
    """The floating results' derivative along the tangents, as `structure` says; None where only a ladder is left."""
    if way == "linear":
        return _linear(op, values, tangents, results, is_tried)
    if way == "multilinear":
        return _multilinear(op, values, tangents, is_tried)
    return _complex(op, values, tangents, results, is_tried) if way == "analytic" else None


def _linear(op: Op, values: list[Array], tangents: list[Array], results: Arrays, is_tried: bool) -> list[Array] | None:
    """f(t) - f(0), which is f(t) but for constants; None where f(x + t) - f(x) says that f is not linear."""
    zeros = floating(op([laid(np.zeros(x.shape), strides_of(x)) for x in values]))
    images = floating(op([laid(t, strides_of(x)) for x, t in zip(values, tangents, strict=True)]))
    made = [image - zero for image, zero in zip(images, zeros, strict=True)]
    if is_tried:
        moved = floating(op([laid(x + t, strides_of(x)) for x, t in zip(values, tangents, strict=True)]))
        for change, at, there, image in zip(made, floating(results), moved, images, strict=True):
            if at.shape != change.shape or not _is_same(there - at, change, (at, there, image)):
                return None
    return made


def _is_same(expected: Array, found: Array, sizes: Sequence[Array]) -> bool:
    """Whether both are the same, where they are finite, up to round-off of what has these sizes."""
    size = max(float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) for a in sizes)
    return not (np.abs(expected - found) > LINEAR_PART * size).any()


def _multilinear(op: Op, values: list[Array], tangents: list[Array], is_tried: bool) -> list[Array] | None:
    """The sum over the operands of f with the tangent in the operand's place.

    None where (f(x + t) - f(x - t)) / 2, the same for a bilinear op, says that it is none.
    """
    parts = [
        floating(op([*values[:i], laid(t, strides_of(values[i])), *values[i + 1 :]]))
        for i, t in enumerate(tangents)
        if t.any()
    ]
    made: list[Array] = [np.asarray(sum(terms[1:], terms[0])) for terms in zip(*parts, strict=True)]
    if is_tried:
        there, behind = (
            floating(op([laid(x + way * t, strides_of(x)) for x, t in zip(values, tangents, strict=True)]))
            for way in (1.0, -1.0)
        )
        for total, after, before in zip(made, there, behind, strict=True):
            if after.shape != total.shape or not _is_same((after - before) / 2.0, total, (after, before, total)):
                return None
    return made


def _complex(op: Op, values: list[Array], tangents: list[Array], results: Arrays, is_tried: bool) -> list[Array] | None:
    """A complex step of the op along the tangents; None where it has no complex kernel or is not analytic there."""
    size = max(float(np.max(np.abs(t), initial=0.0)) for t in tangents)
    if not np.isfinite(size):
        return None
    height = STEP / size
    moved = [laid(x + 1j * height * t, strides_of(x)) for x, t in zip(values, tangents, strict=True)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = op(moved)
    except Exception:  # an engine refuses complex numbers in its own words
        return None
    if len(found) != 1 or found[0].dtype != np.complex128 or found[0].shape != results[0].shape:
        return None
    made = found[0].imag / height
    return [made] if not is_tried or _is_plain(op, values, tangents, results[0], made) else None


def _is_plain(op: Op, values: list[Array], tangents: list[Array], base: Array, found: Array) -> bool:
    """Whether plain quotients to the left and to the right give the derivative that a complex step gave."""
    sizes = [float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) for a in (*values, *tangents)]
    step = PLAIN * min(1.0, max(sizes[: len(values)]) or 1.0) / max(sizes[len(values) :])
    for way in (step, -step):
        there = op([laid(x + way * t, strides_of(x)) for x, t in zip(values, tangents, strict=True)])[0]
        gap = np.abs((there - base) / way - found)
        allowed = PLAIN_PART * np.abs(found) + PLAIN_ROUNDOFFS * EPSILON * np.maximum(np.abs(base), TINY_VALUE) / step
        if not (gap <= allowed)[np.isfinite(base)].all():
            return False
    return True


def laddered(
    op: Op, values: list[Array], tangents: list[Array], base: list[Array], effort: int | None = None
) -> tuple[Derivative, int]:
    """The derivative by a ladder along the tangent, and the effort that it took (or was told to make)."""
    # The ladder's unit is where the operands change by about their own size.
    sizes = [float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) for a in (*values, *tangents)]
    unit = 2.0 ** np.rint(np.log2((max(sizes[: len(values)]) or 1.0) / max(sizes[len(values) :])))
    first = flat(base)

    def phi(s: float) -> Floats:
        try:
            found = flat(floating(op([laid(x + s * t, strides_of(x)) for x, t in zip(values, tangents, strict=True)])))
        except OFF_DOMAIN:
            return np.full(first.shape, np.nan)
        return found if found.shape == first.shape else np.full(first.shape, np.nan)

    ladder = Ladder(phi, scale=float(unit), base=first)
    for own in range(EFFORTS) if effort is None else (effort,):
        found, effort = ladder.derivative(own), own
        scale = float(np.max(np.abs(found.value[np.isfinite(found.value)]), initial=0.0))
        if (found.smooth & (found.error <= FINE * scale)).all():
            break
    assert effort is not None
    return found, effort


def one_sided(found: Derivative, side: str) -> tuple[Floats, Floats]:
    """One side's derivative and its error; NaN where it is not known, or where the kink is beside the point."""
    own, error = getattr(found, side), getattr(found, f"{side}_error")
    value = np.where(found.smooth, found.value, own)
    error = np.where(found.smooth, found.error, error)
    trusted = np.isfinite(error) & found.finite & ~found.one_sided & ~found.unresolved & (found.smooth | found.here)
    return np.where(trusted, value, np.nan), np.where(trusted, error, 0.0)
