"""GC701: a function of float64 inputs computes in float64; and how much round-off it has, where it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.passes import dense, draw_like, positions, pulled
from gradcheck.checks.roundoff import fills_float32, moved_by_ulps
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

# Inputs are moved up and down by these parts of float32's spacing: less than one, so that its rounding shows, and not
# the same, or rounding up and down would cancel where an input is a float32 number.
_UP, _DOWN = 0.8 * 2.0**-23, 0.3 * 2.0**-23
# What a straight line through the three points leaves is round-off or, for a smooth function, _UP * _DOWN times its
# curvature; beyond this part of the array's scale it is neither in float64, unless digits were lost. float32 leaves
# about 2**-25.
_NOISE = 2.0**-34
_EPS = 2.0**-52
# Where noise is measured: moves of these parts, for what computes in float32, float16 and bfloat16. What is left of a
# smooth function is of second order in the move; more than this power of it is noise.
_MOVES = (2.0**-23, 2.0**-10, 2.0**-7)
_ORDER = 1.5
_DRAWS = 3
_ONE_SPACING = 2.0**-22
# Digits that cancellation loses against a constant come back at larger inputs; those of float32 do not.
_SCALE = 2.0**7


def works_in_its_inputs_precision(subject: Subject) -> Outcome:
    """Neither values nor gradients carry the round-off of float32 where all inputs are float64.

    Noise alone is no proof, as a right function may lose digits by cancellation. What disagrees is noise of that size
    together with its cause: a cast that the engine saw, results that all are float32 numbers, or results that do not
    tell an input from its rounding to float32; the last two also at another scale, where cancellation looks different.
    """
    inputs, plain = dense(subject)
    generator = subject.generator("precision")
    if not _is_double((*plain, *(inputs[k] for k in positions(subject)))):
        return VACUOUS
    point = (*inputs, *draw_like(plain, generator))
    with subject.engine.casts() as casts:
        middle = _at(subject, point)
    seed = int(generator.integers(2**32))
    up, down = (moved_by_ulps(point, np.random.default_rng(seed), move / _EPS) for move in (_UP, -_DOWN))
    above, below = _at(subject, up), _at(subject, down)
    if not all(np.isfinite(array).all() for array in (*above, *middle, *below)):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    noisy = [k for k, triple in enumerate(zip(above, middle, below, strict=True)) if _is_noisy(*triple)]
    if noisy and casts:
        return _found(subject, noisy[0], point, up, f"the engine saw {casts[0]}")
    for k in noisy:
        cause = _fingerprint(subject, up, k)
        if cause and _fingerprint(subject, tuple(_scaled(array) for array in up), k) in (cause, None):
            return _found(subject, k, point, up, cause)
    return AGREED


def measured_noise(subject: Subject) -> float:
    """The relative round-off of a function's values and gradients at its point, measured.

    Parameters
    ----------
    subject : Subject
        Of float64 inputs. What moves by no more than float64's round-off gives about 1e-16; a function that computes in
        float32, 1e-7; one that computes in float16, 1e-3.

    Returns
    -------
    float
        For `Subject.noise`: ``replace(subject, noise=measured_noise(subject))`` is judged by what can be seen through
        that noise. 0.0 where the function cannot be asked: it raises nearby, or is not finite.
    """
    inputs, plain = dense(subject)
    generator = subject.generator("noise")
    point = (*inputs, *draw_like(plain, generator))
    found = 0.0
    for move in _MOVES:
        for _ in range(_DRAWS):
            left = _left(subject, point, move, int(generator.integers(2**32)))
            found = max(found, left if left > move**_ORDER or move == _MOVES[0] else 0.0)
    return found


def _left(subject: Subject, point: Sequence[Array], move: float, seed: int) -> float:
    """What a straight line through three points leaves, relative to each result's scale: the largest."""
    ways = [moved_by_ulps(point, np.random.default_rng(seed), part * move / _EPS) for part in (0.8, -0.3)]
    try:
        above, middle, below = (_at(subject, at) for at in (ways[0], point, ways[1]))
    except Exception:  # whatever a user's function raises beside its point
        return 0.0
    found = [0.0]
    for a, m, b in zip(above, middle, below, strict=True):
        if m.size and a.shape == m.shape == b.shape and np.isfinite([a, m, b]).all() and m.any():
            found.append(float(np.abs((0.3 * (a - m) + 0.8 * (b - m)) / 1.1).max() / np.abs(m).max()))
    return max(found)


def _at(subject: Subject, point: Sequence[Array]) -> tuple[Array, ...]:
    """Values and gradients at inputs and cotangents."""
    count = len(subject.inputs)
    return pulled(subject, point[:count], point[count:])


def _is_double(arrays: Sequence[Array]) -> bool:
    return bool(arrays) and all(array.dtype in (np.float64, np.complex128) for array in arrays)


def _is_noisy(above: Array, middle: Array, below: Array) -> bool:
    if not middle.size or above.shape != middle.shape or below.shape != middle.shape:
        return False
    scale = np.abs(middle).max()
    with np.errstate(invalid="ignore"):
        left = (_DOWN * (above - middle) + _UP * (below - middle)) / (_UP + _DOWN)
        return bool(np.abs(left).max() > _NOISE * scale)


def _fingerprint(subject: Subject, point: Sequence[Array], k: int) -> str | None:
    """What of float32 result `k` shows at `point`: "" where nothing does, None where the function cannot be asked."""
    narrow = tuple(_rounded(array) for array in point)
    following = moved_by_ulps(narrow, np.random.default_rng(0), _ONE_SPACING / _EPS)
    try:
        here, stalled, moved = (_at(subject, at)[k] for at in (point, narrow, following))
    except Exception:  # whatever a user's function raises outside its domain
        return None
    if not all(np.isfinite(array).all() for array in (here, stalled, moved)):
        return None
    if np.array_equal(_rounded(here), here) and fills_float32(here):
        return "all its entries are float32 numbers"
    if np.array_equal(here, stalled) and _most((moved != stalled)[stalled != 0]):
        return "inputs rounded to float32 give the same result to the last bit"
    return ""


def _most(flags: Array) -> bool:
    return bool(flags.size) and bool(flags.mean() > 0.5)


def _scaled(array: Array) -> Array:
    return array * _SCALE if array.dtype.kind in "fc" else array


def _rounded(array: Array) -> Array:
    if array.dtype.kind not in "fc":
        return array
    narrow = np.complex64 if array.dtype.kind == "c" else np.float32
    with np.errstate(over="ignore"):
        return array.astype(narrow).astype(array.dtype)


def _found(subject: Subject, array: int, point: Sequence[Array], up: Sequence[Array], cause: str) -> Outcome:
    count = len(subject.inputs)
    outputs = len(point) - count
    is_gradient = array >= outputs
    what = "the gradient" if is_gradient else f"output {array}"
    return disagreement(
        WORKS_IN_ITS_INPUTS_PRECISION,
        subject,
        position=positions(subject)[array - outputs] if is_gradient else None,
        detail=f"{what} is float64 and has the round-off of float32: {cause}",
        inputs=point[:count],
        cotangents=tuple(point[count:]),
        output=None if is_gradient else array,
        directions=tuple(_sign(moved, held) for moved, held in zip(up, point, strict=True)),
    )


def _sign(moved: Array, held: Array) -> Array:
    """Where an array was moved away from 0 (1) or towards it (-1)."""
    away = np.abs(moved).astype(np.float64) - np.abs(held).astype(np.float64)
    return np.sign(away).astype(np.int64)


WORKS_IN_ITS_INPUTS_PRECISION = Claim(
    "works_in_its_inputs_precision",
    "GC701",
    "Values and gradients for float64 inputs are computed in float64 throughout.",
    works_in_its_inputs_precision,
)
