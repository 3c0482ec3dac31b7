"""GC702: in float32, and where it is called so in half precision, a gradient is that in float64 up to round-off."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.checks.claim import Claim, Subject, disagreement
from gradcheck.checks.evaluation import extent
from gradcheck.checks.half import Half, OutOfRange, rounded
from gradcheck.checks.passes import dense, draw_like, positions, pulled
from gradcheck.checks.roundoff import Yardstick, moved_by_ulps
from gradcheck.failures import Unsupported
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

_EPS = float(np.finfo(np.float32).eps)
# Round-offs of float32 that are granted beyond what moves of the inputs show, relative to the largest entry of an array
# and to what one round-off of the outputs is in units of a gradient: an algorithm may lose digits that its inputs do
# not (a variance as a difference of squares). What is looked for is another formula, which is off by far more.
_GRANTED = 256.0
# Moves of the narrow computation itself by an ulp: where these jump, a kink or a rounding decides, and no formula.
_PROBES = 6
_JUMPS = 16.0

VALUES_DIFFER = "another function in float32"


def narrow_gradients_agree(subject: Subject) -> Outcome:
    """Compare gradients in float32 with those in float64, at a point and for cotangents that are float32 numbers.

    Where the values differ already, it is another function in float32, and no gradient is wrong for it.
    """
    inputs, plain = dense(subject)
    if any(x.dtype.kind in "fc" and x.dtype != np.float64 for x in (*inputs, *plain)):
        return VACUOUS
    generator = subject.generator("narrow")
    point = tuple(rounded(x, "float32") for x in inputs)
    cotangents = tuple(rounded(u, "float32") for u in draw_like(plain, generator))
    both = _Both(subject, len(plain), point, cotangents)
    with np.errstate(all="ignore"):
        wide, narrow = both.wide((*point, *cotangents)), both.narrow((*point, *cotangents))
    if [a.shape for a in wide] != [a.shape for a in narrow]:
        raise Unsupported("its shapes depend on the dtype")
    if not all(np.isfinite(a).all() for a in (*wide, *narrow)):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    if both.is_near(wide, narrow):
        single = AGREED if any(g.any() for g in wide[len(plain) :]) else VACUOUS
    else:
        single = both.judged(wide, narrow, generator)
    return _also_in_half(subject, single, (*inputs, *draw_like(plain, generator)), len(plain))


def _also_in_half(subject: Subject, single: Outcome, arrays: tuple[Array, ...], outputs: int) -> Outcome:
    """The outcome in float32, unless one in half precision says more; without float32, there is nothing to go by."""
    if single.verdict is not Verdict.AGREE:
        return single
    found = [outcome for dtypes in subject.narrow if (outcome := _in_half(subject, dtypes, arrays, outputs))]
    order = (Verdict.DISAGREE, Verdict.INCONCLUSIVE, Verdict.AGREE)
    return min((*found, single), key=lambda outcome: (order.index(outcome.verdict), outcome.vacuous))


def _in_half(subject: Subject, dtypes: tuple[str, ...], arrays: tuple[Array, ...], outputs: int) -> Outcome | None:
    """Compare gradients in half precision with those in float64; None where that is refused."""
    half = Half(subject, dtypes, outputs)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            off = half.off(arrays, subject.generator(f"narrow {dtypes}"))
    except Unsupported:
        return None
    except OutOfRange as error:
        return Outcome(Verdict.INCONCLUSIVE, f"{error} in {half.coarsest}")
    if off is None:
        return AGREED
    if off.array < outputs:
        return Outcome(Verdict.INCONCLUSIVE, f"another function in {half.coarsest}")
    where = "all entries together" if off.is_uniform else "this entry"
    return disagreement(
        NARROW_GRADIENTS_AGREE,
        subject,
        position=positions(subject)[off.array - outputs],
        entry=off.entry,
        analytic=off.narrow,
        numeric=off.wide,
        error=off.bound,
        detail=f"the first value is the gradient in {half.coarsest}, the second that in float64, for equal values; "
        f"{where} off by {abs(off.part):.2g} of it in the mean over points nearby",
        inputs=off.arrays[:-outputs],
        cotangents=off.arrays[-outputs:],
        way=" ".join(dtypes),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Both:
    """Values and gradients of one subject in the two precisions, from float64 arrays."""

    subject: Subject
    outputs: int
    point: tuple[Array, ...]
    cotangents: tuple[Array, ...]

    def wide(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """In float64."""
        count = len(self.point)
        return pulled(self.subject, arrays[:count], arrays[count:])

    def narrow(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """In float32; what comes out is float64 again."""
        count = len(self.point)
        given = tuple(_narrowed(array) for array in arrays)
        subject = replace(self.subject, inputs=given[:count], noise=0.0)
        try:
            found = pulled(subject, given[:count], given[count:])
        except Unsupported:
            raise
        except Exception as error:  # a function may refuse what it was not written for
            raise Unsupported(f"refuses float32 ({type(error).__name__})") from error
        return tuple(array.astype(np.float64) for array in found)

    def least(self, wide: Sequence[Array]) -> list[float]:
        """What is granted each array whatever its conditioning."""
        pairs = zip(wide[: self.outputs], self.cotangents, strict=True)
        size = max((float(np.abs(y * u).max(initial=0.0)) for y, u in pairs), default=0.0)
        units = [1.0] * self.outputs + [size / extent(self.point[k]) for k in positions(self.subject)]
        largest = [float(np.abs(array).max(initial=0.0)) for array in wide]
        natural = [scale if k < self.outputs else max(scale, units[k]) for k, scale in enumerate(largest)]
        return [_GRANTED * _EPS * scale for scale in natural]

    def is_near(self, wide: Sequence[Array], narrow: Sequence[Array]) -> bool:
        """Whether nothing is off by more than is granted anyway."""
        triples = zip(wide, narrow, self.least(wide), strict=True)
        return all((np.abs(a - b) <= least).all() for a, b, least in triples)

    def judged(self, wide: Sequence[Array], narrow: Sequence[Array], generator: np.random.Generator) -> Outcome:
        """The entry that is off by more than conditioning and jumps explain; values first."""
        arrays = (*self.point, *self.cotangents)
        yardstick = Yardstick(self.wide, arrays, generator, cotangents=len(self.cotangents), noise=_EPS)
        jumps = self._jumps(arrays, narrow, generator)
        for k, (a, b, bound, jump, least) in enumerate(
            zip(wide, narrow, yardstick.bounds(), jumps, self.least(wide), strict=True)
        ):
            allowed = least + _JUMPS * (np.asarray(bound) + jump)
            off = np.abs(a - b)
            if not (off > allowed).any():
                continue
            if k < self.outputs:
                return Outcome(Verdict.INCONCLUSIVE, VALUES_DIFFER)
            return self._found(k, a, b, off / allowed, allowed)
        return AGREED

    def _jumps(self, arrays: tuple[Array, ...], narrow: Sequence[Array], generator: np.random.Generator) -> list[Array]:
        """How far the narrow results move where every number moves by an ulp of float32."""
        found = [np.zeros(array.shape) for array in narrow]
        for probe in range(_PROBES):
            moved = moved_by_ulps(arrays, generator, 1.0, ties_hold=probe < _PROBES // 2, noise=_EPS)
            for k, array in enumerate(self.narrow(moved)):
                with np.errstate(all="ignore"):
                    found[k] = np.fmax(found[k], np.abs(array - narrow[k]))
        return found

    def _found(self, k: int, wide: Array, narrow: Array, excess: Array, allowed: Array) -> Outcome:
        entry = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
        return disagreement(
            NARROW_GRADIENTS_AGREE,
            self.subject,
            position=positions(self.subject)[k - self.outputs],
            entry=entry,
            analytic=narrow[entry].item(),
            numeric=wide[entry].item(),
            error=float(allowed[entry]),
            detail="the first value is the gradient in float32, the second that in float64, for equal values",
            inputs=self.point,
            cotangents=self.cotangents,
        )


def _narrowed(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float64 else array


NARROW_GRADIENTS_AGREE = Claim(
    "narrow_gradients_agree",
    "GC702",
    "In a narrower dtype, a gradient is that in float64 up to round-off.",
    narrow_gradients_agree,
    on_programs=False,
)
