"""GC102: forward mode and reverse mode are transposes of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradcheck.checks.claim import Claim, Subject, coarsest, disagreement
from gradcheck.checks.passes import dense, draw_like, positions, pulled, run
from gradcheck.checks.roundoff import Yardstick
from gradcheck.engines.base import Capability
from gradcheck.numeric.derivative import NOT_FINITE
from gradcheck.program import Array
from gradcheck.verdict import AGREED, VACUOUS, Outcome, Verdict

_DIRECTIONS = 2
_COTANGENTS = 2
# Both sides are linear in u and in v, so what stretched ones miss is round-off; these factors fill the last bits.
_STRETCHES = (1.0 + 1.0 / 3.0, 1.0 - 2.0 / 7.0)
_SAFETY = 4.0
# Round-offs, for unit slopes: 1 / sqrt(1e-5) and a few of them.
_REMAINS = 2.0**10


def jvp_agrees_with_vjp(subject: Subject) -> Outcome:
    """<u, J v> = <J^T u, v> for several directions v and cotangents u of both signs, up to round-off.

    It can only disagree where both modes come from one declaration: there, agreement shows that the declaration is
    used consistently, not that it is right. The bound is of round-off alone, so a disagreement is always a fault.
    """
    inputs, plain = dense(subject)
    generator = subject.generator("forward mode")
    differentiated = [inputs[k] for k in positions(subject)]
    if not any(y.size for y in plain) or not any(x.size for x in differentiated):
        return VACUOUS
    directions = [draw_like(differentiated, generator) for _ in range(_DIRECTIONS)]
    cotangents = [draw_like(plain, generator) for _ in range(_COTANGENTS)]
    tangents = [pushed(subject, inputs, v) for v in directions]
    gradients = [pulled(subject, inputs, u)[len(plain) :] for u in cotangents]
    if not all(np.isfinite(a).all() for group in (*tangents, *gradients) for a in group):
        return Outcome(Verdict.INCONCLUSIVE, NOT_FINITE)
    for v, jv in zip(directions, tangents, strict=True):
        for u, jtu in zip(cotangents, gradients, strict=True):
            forward, reverse = inner(u, jv), inner(jtu, v)
            if abs(forward - reverse) <= _rounding(u, jv, subject.noise) + _rounding(jtu, v, subject.noise):
                continue
            if max(abs(forward), abs(reverse)) <= _nothing(u, v, subject.noise):
                continue
            blur = _blur(subject, inputs, u, v, generator)
            if abs(forward - reverse) > blur:
                return _found(subject, forward, reverse, blur, inputs, u, v)
    is_zero = not any(a.any() for group in (*tangents, *gradients) for a in group)
    return VACUOUS if is_zero else AGREED


def pushed(subject: Subject, inputs: Sequence[Array], directions: Sequence[Array]) -> tuple[Array, ...]:
    """Forward mode: the outputs' tangents along `directions`, one for each differentiated input (unconnected: 0)."""
    engine = subject.engine
    where = positions(subject)

    def function(*moving: object) -> tuple[object, ...]:
        tensors: list[object] = [None if k in where else engine.tensor(x) for k, x in enumerate(inputs)]
        for k, x in zip(where, moving, strict=True):
            tensors[k] = x
        return run(subject, tensors)

    primals = [engine.tensor(inputs[k]) for k in where]
    outputs, tangents = engine.jvp(function, primals, [engine.tensor(v) for v in directions])
    return tuple(
        np.zeros_like(engine.array(y)) if t is None else engine.array(t) for y, t in zip(outputs, tangents, strict=True)
    )


def inner(left: Sequence[Array], right: Sequence[Array]) -> float:
    """The real inner product of two lists of arrays."""
    return float(sum(np.vdot(_wide(a), _wide(b)).real for a, b in zip(left, right, strict=True)))


def _wide(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _rounding(left: Sequence[Array], right: Sequence[Array], noise: float) -> float:
    """Round-off of `inner`, n * eps * sum|terms|, with the factors themselves good to two ulps."""
    count = sum(a.size for a in left) + 4
    terms = sum(float((np.abs(_wide(a)) * np.abs(_wide(b))).sum()) for a, b in zip(left, right, strict=True))
    return count * max(noise, coarsest((*left, *right))) * terms


def _nothing(u: Sequence[Array], v: Sequence[Array], noise: float) -> float:
    """What passes for zero on both sides: constants inside the function may cancel to round-off, and be stretched.

    layer_norm of equal numbers divides what is left of them by the root of its eps, and no probe moves a constant.
    """
    sizes = (sum(float(np.abs(_wide(a)).sum()) for a in group) for group in (u, v))
    return _REMAINS * max(noise, coarsest((*u, *v))) * math.prod(sizes)


def _blur(
    subject: Subject,
    inputs: tuple[Array, ...],
    u: tuple[Array, ...],
    v: tuple[Array, ...],
    generator: np.random.Generator,
) -> float:
    """What round-off can move either side by, where the terms inside the function are larger than its results."""
    ends = len(inputs), len(inputs) + len(u)

    def both(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        x, us, vs = arrays[: ends[0]], arrays[ends[0] : ends[1]], arrays[ends[1] :]
        jv, jtu = pushed(subject, x, vs), pulled(subject, x, us)[len(us) :]
        sides = inner(us, jv), inner(jtu, vs)
        terms = _rounding(us, jv, subject.noise) + _rounding(jtu, vs, subject.noise)
        return np.array(sides[0]), np.array(sides[1]), np.array(terms)

    yardstick = Yardstick(both, (*inputs, *u, *v), generator, noise=subject.noise)
    forward, reverse, _ = yardstick.bounds()
    blur = float(forward + reverse + yardstick.expected[2])
    for stretch in _STRETCHES:
        stretched = both((*inputs, *(stretch * a for a in u), *(stretch * a for a in v)))
        missed = (stretched[k] / stretch**2 - yardstick.expected[k] for k in (0, 1))
        blur += _SAFETY * sum(abs(float(gap)) for gap in missed)
    return blur


def _found(
    subject: Subject,
    forward: float,
    reverse: float,
    blur: float,
    inputs: tuple[Array, ...],
    u: tuple[Array, ...],
    v: tuple[Array, ...],
) -> Outcome:
    return disagreement(
        JVP_AGREES_WITH_VJP,
        subject,
        analytic=reverse,
        numeric=forward,
        error=blur,
        detail="the first value is <J^T u, v> by reverse mode, the second <u, J v> by forward mode",
        inputs=inputs,
        cotangents=u,
        directions=v,
    )


JVP_AGREES_WITH_VJP = Claim(
    "jvp_agrees_with_vjp",
    "GC102",
    "Forward mode and reverse mode are transposes: <u, J v> = <J^T u, v>.",
    jvp_agrees_with_vjp,
    needs=frozenset({Capability.FORWARD_MODE}),
)
