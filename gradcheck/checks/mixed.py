"""GC106: a second derivative is the same whichever of forward and reverse mode is applied to which."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.checks.claim import Claim, Subject, coarsest, disagreement
from gradcheck.checks.evaluation import extent
from gradcheck.checks.gradient import refusals_are_no_verdict
from gradcheck.checks.higher_order import Gradient
from gradcheck.checks.passes import dense, draw_like, positions, run
from gradcheck.checks.roundoff import Computation, Yardstick
from gradcheck.engines.base import Capability
from gradcheck.failures import Unsupported
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

_PAIRS = 2
# Round-offs of the largest entry that are granted unmeasured. Of 118 comparisons of drawn programs, 11 need more than
# 4, and 7 more than 16 or 64: those cancel, and what that leaves is measured.
_NEAR = 16.0
# Every way is linear in u, so what a stretched u misses is round-off; these factors fill the last bits. The yardstick
# does the same with v.
_STRETCHES = (1.0 + 1.0 / 3.0, 1.0 - 2.0 / 7.0)
_SAFETY = 4.0
# Round-offs, for unit slopes: where constants inside cancel, each derivative divides what is left by a small number
# once more (the root of 1e-5 in layer_norm).
_REMAINS = 2.0**20
# The same where a gradient saturates: exp(x - logaddexp(x, y)) is 1 less a few round-offs of x, which no move of x by
# ulps shows, as the difference stays what it is; its derivative has them, times x twice, of what it would be if the
# gradient changed by its own size over x. Beyond 36 there is nothing left of the difference but that.
_SATURATED = 2.0**12

Arrays = tuple[Array, ...]
Tensors = Sequence[Any]


def mixed_modes_agree(subject: Subject) -> Outcome:
    """Compare H v by reverse over reverse with what forward over reverse and reverse over forward give, entry by entry.

    H is the matrix of second derivatives of ``<u, f(x)>``. The gradient of ``<J^T u, v>``, the change of ``J^T u``
    along v, and the gradient of ``<u, J v>`` are all H v. The bound is of round-off alone. As at first order, agreement
    of modes that come from one declaration shows that it is used consistently, and no more.

    Raises
    ------
    Unsupported
        If the function refuses reverse over reverse, or both of the others.
    """
    inputs, plain = dense(subject)
    where = tuple(k for k in positions(subject) if inputs[k].dtype.kind == "f" and inputs[k].size)
    outputs = [y for y in plain if y.dtype.kind == "f"]
    if not where or not any(y.size for y in outputs):
        return VACUOUS
    generator = subject.generator("mixed modes")
    is_zero = True
    with refusals_are_no_verdict(subject):
        for _ in range(_PAIRS):
            u, v = draw_like(outputs, generator), draw_like([inputs[k] for k in where], generator)
            outcome = _compared(_At(subject, where, inputs, u, v), generator)
            if outcome.verdict is not Verdict.AGREE:
                return outcome
            is_zero = is_zero and outcome.vacuous
    return VACUOUS if is_zero else AGREED


@dataclass(frozen=True, slots=True, eq=False)
class _At:
    """A function at a point, a cotangent for each floating output, and a direction for each input that moves."""

    subject: Subject
    where: tuple[int, ...]
    inputs: Arrays
    cotangents: Arrays
    directions: Arrays

    @property
    def arrays(self) -> Arrays:
        """All of it: inputs, cotangents, directions."""
        return (*self.inputs, *self.cotangents, *self.directions)

    def moved(self, arrays: Arrays) -> _At:
        """The same function elsewhere."""
        first, second = len(self.inputs), len(self.inputs) + len(self.cotangents)
        return replace(self, inputs=arrays[:first], cotangents=arrays[first:second], directions=arrays[second:])

    def everywhere(self) -> Arrays:
        """The directions, and none in the inputs that are empty: one for each that is differentiated."""
        given = dict(zip(self.where, self.directions, strict=True))
        return tuple(given.get(k, self.inputs[k]) for k in positions(self.subject) if self.inputs[k].dtype.kind == "f")

    def leaves(self) -> tuple[Any, ...]:
        """The inputs that move, as tensors that require grad."""
        return tuple(self._tensors([self.inputs[k] for k in self.where], requires_grad=True))

    def along(self) -> tuple[Any, ...]:
        """The directions as tensors."""
        return tuple(self._tensors(self.directions))

    def weights(self) -> tuple[Any, ...]:
        """The cotangents as tensors."""
        return tuple(self._tensors(self.cotangents))

    def values(self, *moving: Any) -> tuple[Any, ...]:
        """The floating outputs."""
        return tuple(y for y in run(self.subject, self._placed(moving)) if self.subject.engine.kind(y) == "f")

    def gradients(self, *moving: Any) -> tuple[Any, ...]:
        """J^T u, with a history."""
        of = replace(self.subject, inputs=self.inputs)
        return Gradient(of, self.where).recorded(*self._placed(moving), *self.weights())

    def slopes(self, *moving: Any) -> tuple[Any, ...]:
        """J v, with a history; zeros where an output is not connected."""
        engine = self.subject.engine
        outputs, tangents = engine.jvp(self.values, moving, self.along())
        return tuple(
            engine.tensor(np.zeros(tuple(y.shape), u.dtype)) if t is None else t
            for y, t, u in zip(outputs, tangents, self.cotangents, strict=True)
        )

    def _placed(self, moving: Tensors) -> list[Any]:
        engine = self.subject.engine
        tensors = [None if k in self.where else engine.tensor(x) for k, x in enumerate(self.inputs)]
        for k, x in zip(self.where, moving, strict=True):
            tensors[k] = x
        return tensors

    def _tensors(self, arrays: Sequence[Array], *, requires_grad: bool = False) -> list[Any]:
        engine = self.subject.engine
        return [engine.tensor(a, requires_grad=requires_grad) for a in arrays]


def _reverse_over_reverse(at: _At) -> Tensors:
    return _pulled(at, at.gradients, at.along())


def _forward_over_reverse(at: _At) -> Tensors:
    return at.subject.engine.jvp(at.gradients, at.leaves(), at.along())[1]


def _reverse_over_forward(at: _At) -> Tensors:
    return _pulled(at, at.slopes, at.weights())


def _pulled(at: _At, function: Callable[..., tuple[Any, ...]], cotangents: Tensors) -> Tensors:
    leaves = at.leaves()
    return at.subject.engine.linearized(function, leaves, [True] * len(leaves)).pull(cotangents, is_last=True)


Way = Callable[[_At], Tensors]
_FIRST: Way = _reverse_over_reverse
_WAYS: dict[Way, str] = {
    _reverse_over_reverse: "reverse over reverse",
    _forward_over_reverse: "forward over reverse",
    _reverse_over_forward: "reverse over forward",
}


def _found(at: _At, way: Way) -> Arrays:
    """H v, one array for each input that moves; zeros where the engine says that nothing is connected."""
    engine = at.subject.engine
    return tuple(
        np.zeros(v.shape, v.dtype) if h is None else engine.array(h)
        for h, v in zip(way(at), at.directions, strict=True)
    )


def _compared(at: _At, generator: np.random.Generator) -> Outcome:
    """Each way that there is against reverse over reverse."""
    refusals: tuple[type[Exception], ...] = (Unsupported, *at.subject.engine.refusals)
    found, refused = {_FIRST: _found(at, _FIRST)}, []
    for way in (_forward_over_reverse, _reverse_over_forward):
        try:
            found[way] = _found(at, way)
        except refusals as refusal:
            refused.append(str(refusal))
    if len(found) == 1:
        raise Unsupported(refused[0])
    if not all(np.isfinite(h).all() for arrays in found.values() for h in arrays):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    noise = at.subject.noise
    if not all(_is_near(h, g, noise) for arrays in found.values() for h, g in zip(arrays, found[_FIRST], strict=True)):
        worst = _worst(at, found, generator)
        if worst is not None:
            return _disagreement(at, found, *worst)
    return VACUOUS if not any(h.any() for arrays in found.values() for h in arrays) else AGREED


def _is_near(found: Array, expected: Array, noise: float) -> bool:
    """Whether two results differ by a few round-offs of the largest entry."""
    largest = max(float(np.abs(found).max()), float(np.abs(expected).max()))
    epsilon = max(noise, coarsest((found, expected)))
    return bool((np.abs(found - expected) <= _NEAR * epsilon * largest).all())


def _worst(
    at: _At, found: dict[Way, Arrays], generator: np.random.Generator
) -> tuple[Way, int, tuple[int, ...], float] | None:
    """The way, the input and the entry that are farthest beyond what round-off can do, and that bound; None if none."""
    ways = list(found)

    def everything(arrays: Arrays) -> Arrays:
        moved = at.moved(arrays)
        return tuple(h for way in ways for h in _found(moved, way))

    bounds = _bounds(at, everything, generator)
    worst: tuple[float, tuple[Way, int, tuple[int, ...], float]] | None = None
    count = len(at.directions)
    for number, way in enumerate(ways):
        for k in range(count):
            bound = bounds[k] + bounds[number * count + k]
            excess = np.abs(found[way][k] - found[_FIRST][k]) / np.maximum(bound, np.finfo(np.float64).tiny)
            i = np.unravel_index(int(excess.argmax()), excess.shape)
            if excess[i] > 1.0 and (worst is None or excess[i] > worst[0]):
                worst = float(excess[i]), (way, k, tuple(int(n) for n in i), float(bound[i]))
    return None if worst is None else worst[1]


def _bounds(at: _At, everything: Computation, generator: np.random.Generator) -> list[Array]:
    """For each entry that `everything` gives, what round-off alone may do to it."""
    noise = at.subject.noise
    yardstick = Yardstick(everything, at.arrays, generator, cotangents=len(at.directions), noise=noise)
    sizes = (sum(float(np.abs(a).sum()) for a in group) for group in (at.cotangents, at.directions))
    steep = _steepness(at)
    nothing = yardstick.epsilon * _REMAINS * max(math.prod(sizes), steep)
    least = yardstick.epsilon * _SATURATED * steep
    floors = [np.where(np.abs(h) <= nothing, nothing, least) for h in yardstick.expected]
    bounds = [bound + floor for bound, floor in zip(yardstick.bounds(), floors, strict=True)]
    for stretch in _STRETCHES:
        stretched = replace(at, cotangents=tuple((stretch * u).astype(u.dtype) for u in at.cotangents))
        missed = (
            np.abs(h / stretch - g) for h, g in zip(everything(stretched.arrays), yardstick.expected, strict=True)
        )
        bounds = [bound + _SAFETY * gap for bound, gap in zip(bounds, missed, strict=True)]
    return bounds


def _steepness(at: _At) -> float:
    """What a second derivative is where the gradient changes by its own size over the size of an input."""
    engine = at.subject.engine
    gradients = [np.abs(engine.array(g)) for g in at.gradients(*at.leaves())]
    change = max(float(np.abs(v).sum()) / extent(at.inputs[k]) for k, v in zip(at.where, at.directions, strict=True))
    return change * max(float(g.max(initial=0.0, where=np.isfinite(g))) for g in gradients)


def _disagreement(at: _At, found: dict[Way, Arrays], way: Way, k: int, entry: tuple[int, ...], bound: float) -> Outcome:
    subject, first, second = at.subject, float(found[_FIRST][k][entry]), float(found[way][k][entry])
    detail = f"the first value is by {_WAYS[_FIRST]}, the second by {_WAYS[way]}"
    for other in found.keys() - {_FIRST, way}:
        third = float(found[other][k][entry])
        like = _WAYS[_FIRST] if abs(third - first) < abs(third - second) else _WAYS[way]
        detail += f"; {_WAYS[other]} gives {third:.6g}, as {like}"
    return disagreement(
        MIXED_MODES_AGREE,
        subject,
        position=at.where[k],
        entry=entry,
        analytic=first,
        numeric=second,
        error=bound,
        detail=detail,
        inputs=at.inputs,
        way=_WAYS[way],
        cotangents=at.cotangents,
        directions=at.everywhere(),
    )


MIXED_MODES_AGREE = Claim(
    "mixed_modes_agree",
    "GC106",
    "Second derivatives are the same by reverse over reverse, forward over reverse and reverse over forward.",
    mixed_modes_agree,
    needs=frozenset({Capability.FORWARD_MODE, Capability.HIGHER_ORDER}),
)
