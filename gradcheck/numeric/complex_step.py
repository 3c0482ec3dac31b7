"""The derivative by one complex step: nothing is subtracted, so that no digit is lost; analyticity is verified.

Source: Squire and Trapp, *Using complex variables to estimate derivatives of real functions* (1998). Im f(x + ihv) / h
is a derivative of an analytic f alone: ``abs``, ``.real``, a cast or ``conj`` on the way give another number without a
word. So the Cauchy-Riemann equations are tried at moderate complex steps, and a ladder's derivative must agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import EPSILON, Flags, Floats
from gradcheck.numeric.known import known

Complexes = npt.NDArray[np.complex128]
ComplexCurve = Callable[[complex], "npt.NDArray[np.generic]"]
"""From a complex t to the flat outputs at x + tv, complex128."""

# (STEP / x)**2 is lost in rounding wherever x is above 1e-22 of v, and STEP * f' stays far above underflow.
STEP = 2.0**-100
# Where the round-off is probed: other last bits of the point, and steps that fill the last bits of imaginary parts.
PROBES = (2.0**-51 + 1j * STEP / 3.0, -(2.0**-51) + 1j * STEP / 5.0, 1j * STEP / 7.0)
# Part of the function's size below which a derivative has no digits to speak of: a saturated softmax leaves 1e-65 of
# terms that should cancel, and smaller imaginary parts underflow on the way.
SMALLEST = 2.0**-200
# Times the largest deviation of the probes, plus so many round-offs of the derivative itself. On 700 drawn graphs of
# seven classes, their derivatives known to fifty digits, the true error stays under a fifth of that,
# one derivative of 1e-60 apart.
SAFETY = 8.0
ROUNDOFFS = 16.0
# Moderate steps at which the Cauchy-Riemann equations are tried; one that passes is enough, since a function that is
# analytic may be too steep for the larger and too noisy for the smaller ones, or have a branch point beside x.
MODERATE = (2.0**-8, 2.0**-13, 2.0**-18, 2.0**-23, 2.0**-30, 2.0**-38)
# Part of the derivative by which they may fail: a part that is not analytic and smaller is below any resolution.
CAUCHY_RIEMANN = 2.0**-21
# Of the function's own round-off over the step. In smaller steps than this it must be no more than such a part of the
# derivative: there noise would excuse anything.
NOISES = 32.0
TRUSTED = 2.0**-23
LOUD = 2.0**-12
# What a ladder may be off by beyond its estimate.
MARGIN = 2.0


def complex_step(curve: ComplexCurve, base: Floats, ladder: Derivative) -> Derivative | None:
    """J v by a complex step along the curve; None where the function is not seen to be analytic there.

    Parameters
    ----------
    curve : callable
        The flat outputs at a complex t. Whatever it raises or warns means None.
    base : array
        The outputs at 0, from real inputs.
    ladder : Derivative
        The same derivative from difference quotients.

    Returns
    -------
    Derivative or None
        Outputs where the ladder sees a kink, or nothing, have an infinite error; the others one of round-off size.
    """
    usable = ladder.finite & ladder.smooth & np.isfinite(ladder.error)
    if not usable.any():
        return None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            return _stepped(curve, base, ladder, usable)
    except Exception:  # a function of real numbers may refuse complex ones in any way it likes
        return None


def _stepped(curve: ComplexCurve, base: Floats, ladder: Derivative, usable: Flags) -> Derivative | None:
    there = _complex(curve, 1j * STEP, base)
    if there is None or not _same_values(there.real, base, usable):
        return None
    value = there.imag / STEP
    probes = [found.imag / t.imag for t in PROBES if (found := _complex(curve, t, base)) is not None]
    if len(probes) < len(PROBES):
        return None
    error = SAFETY * np.max(np.abs(np.array(probes) - value), axis=0) + ROUNDOFFS * EPSILON * np.abs(value)
    # A zero may be what is left of a derivative below the round-off on the way: 1 - tanh(x) is 0 at 40, and flat.
    unit = max(1.0, float(np.max(np.abs(base[usable]))))
    error = np.where(error == 0.0, EPSILON * unit, error) + SMALLEST * unit
    agrees = np.abs(value - ladder.value) <= MARGIN * (ladder.error + error)
    analytic = _is_analytic(curve, base, usable)
    if not agrees[usable].all() or not analytic[usable].all():
        return None
    error = np.where(usable & np.isfinite(value), error, np.inf)
    return known(base, value, value, error, error, evaluations=1 + len(PROBES) + 4 * len(MODERATE))


def _complex(curve: ComplexCurve, t: complex, base: Floats) -> Complexes | None:
    """The outputs at t; None where they are not complex, or not as many."""
    found = curve(t)
    return found.astype(np.complex128) if found.dtype.kind == "c" and found.shape == base.shape else None


def _same_values(found: Floats, base: Floats, usable: Flags) -> bool:
    """Whether complex inputs gave the function's values: a branch on the dtype may lead to another function.

    Complex kernels round otherwise, and what cancels loses digits: an accident is far above this.
    """
    size = float(np.max(np.abs(base[usable])))
    return bool((np.abs(found - base)[usable] <= 1e-6 * np.maximum(np.abs(base[usable]), size)).all())


def _is_analytic(curve: ComplexCurve, base: Floats, usable: Flags) -> Flags:
    """For each output: whether the Cauchy-Riemann equations hold at one of the moderate steps."""
    passed = np.zeros(base.shape, dtype=np.bool_)
    for height in MODERATE:
        at, step = 1j * height, height / 4.0
        ends = [_complex(curve, at + step * way, base) for way in (1.0, -1.0, 1j, -1j)]
        if any(end is None for end in ends):
            return np.zeros(base.shape, dtype=np.bool_)
        east, west, north, south = (end for end in ends if end is not None)
        along, up = (east - west) / (2.0 * step), (north - south) / (2j * step)
        allowed = CAUCHY_RIEMANN * np.maximum(np.abs(along), np.abs(up))
        noise = NOISES * EPSILON * np.abs(base) / step
        quiet = (noise <= LOUD * np.abs(along)) | (height >= TRUSTED)
        passed |= np.abs(along - up) <= allowed + np.where(quiet, noise, 0.0)
        if passed[usable].all():
            break
    return passed
