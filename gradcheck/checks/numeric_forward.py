"""Numeric forward mode: tangents pushed through op by op, without any derivative formula.

The derivative of an analytic elementwise op is a complex step of the op's own forward at the values that occurred. A
linear op is applied to the tangents, a multilinear one to each tangent beside the other operands' values; of any other
the derivative along the tangent is a ladder's. What is declared of an op (its structure, its kinks) is tried before it
is used. Errors are measured: the whole is repeated with values and tangents that are off by a few round-offs, and by
what each ladder may be off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradcheck.checks.evaluation import flat, split
from gradcheck.checks.laid import laid, strides_of
from gradcheck.checks.move import is_special
from gradcheck.checks.pushing import Arrays, Op, floating, is_differentiable, laddered, one_sided, pushed, structure
from gradcheck.engines.base import Engine
from gradcheck.engines.traced import Key, Stage, Traced
from gradcheck.failures import OFF_DOMAIN
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import EPSILON, Floats
from gradcheck.numeric.known import known
from gradcheck.program import Array, Input, Program, Ref, Step, map_refs, refs
from gradcheck.rewrite import functional

# Repetitions with values and tangents off by at most so many round-offs, and what their largest deviation is times.
PROBES = 3
ULPS = 4.0
SAFETY = 4.0
# Part of the largest output by which the program's outputs may be off from those expected.
SAME = 1e-9
# An op that reads memory beyond its operand, which a tangent does not have.
REFUSED = frozenset({"as_strided"})


class _Unknown(Exception):
    """The method cannot be had here; says why."""


_REFUSALS = (_Unknown, *OFF_DOMAIN, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, eq=False)
class Tangent:
    """One-sided derivatives of one value, the left one in the direction of v too; NaN where unknown.

    Attributes
    ----------
    right, left : arrays
        One array, where the value is smooth.
    """

    right: Array
    left: Array

    @property
    def is_smooth(self) -> bool:
        """Left and right are one."""
        return self.right is self.left


@dataclass(frozen=True, slots=True, eq=False)
class Pushed:
    """Floating outputs with their tangents (None: not connected)."""

    outputs: Arrays
    tangents: tuple[Tangent | None, ...]


def numeric_forward(
    program: Program,
    engine: Engine,
    inputs: Sequence[Array],
    directions: Mapping[int, Array],
    random: np.random.Generator,
    base: Floats | None = None,
) -> Derivative | None:
    """J v of a program's flattened floating outputs.

    Parameters
    ----------
    program : Program
        In-place steps are rewritten first.
    engine : Engine
        Runs the ops' forwards; nothing is differentiated.
    inputs, directions, random, base
        As of `numeric_forward_of`.

    Returns
    -------
    Derivative or None
        With an infinite error where it is unknown; None where it is unknown everywhere, or an op refuses.
    """
    at = replace(program, inputs=tuple(Input(values) for values in inputs))
    try:
        with engine.no_grad(), np.errstate(all="ignore"):
            if any(step.inplace for step in at.steps):
                at = functional(at, engine)
    except _REFUSALS:
        return None
    if not all(engine.supports(op) for op in at.ops):
        return None
    return numeric_forward_of(_staged(at, engine), engine, inputs, directions, random, base)


def numeric_forward_of(
    traced: Traced,
    engine: Engine,
    inputs: Sequence[Array],
    directions: Mapping[int, Array],
    random: np.random.Generator,
    base: Floats | None = None,
) -> Derivative | None:
    """J v of the flattened floating outputs of what was taken apart into ops.

    Parameters
    ----------
    traced : Traced
    engine : Engine
        What the ops are of.
    inputs : sequence of arrays
        The point, with the layouts that count.
    directions : mapping
        v for each input that moves.
    random : numpy Generator
        For the repetitions that measure the error.
    base : array or None
        What the flattened outputs are known to be: what gives others is not the function meant.

    Returns
    -------
    Derivative or None
        As `numeric_forward`.
    """
    known_dtypes = all(values.dtype in (np.float64, np.int64, np.bool_) for values in inputs)
    if not known_dtypes or not REFUSED.isdisjoint(stage.op for stage in traced.stages):
        return None
    try:
        with engine.no_grad(), np.errstate(all="ignore"):
            return _measured(traced, inputs, directions, random, base)
    except _REFUSALS:
        return None


def _staged(program: Program, engine: Engine) -> Traced:
    """A program without in-place steps, as the calls that it consists of."""
    constants = {(f"c{k}", 0): constant for k, constant in enumerate(program.constants)}
    return Traced(
        constants, tuple(_stage(step, engine) for step in program.steps), tuple(_key(ref) for ref in program.outputs)
    )


def _key(ref: Ref) -> Key:
    return ref.name, ref.item or 0


def _stage(step: Step, engine: Engine) -> Stage:
    def run(operands: Sequence[Array]) -> Arrays:
        given = iter(operands)
        args, kwargs = map_refs((step.args, step.kwargs), lambda _: engine.tensor(next(given)))
        found = engine.call(step.op, args, kwargs)
        several = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return tuple(laid(engine.array(y), engine.strides(y)) for y in several)

    return Stage(step.op, tuple(_key(ref) for ref in refs((step.args, step.kwargs))), run)


def _measured(
    traced: Traced,
    inputs: Sequence[Array],
    directions: Mapping[int, Array],
    random: np.random.Generator,
    expected: Floats | None,
) -> Derivative | None:
    run = _Pass(traced, inputs)
    found = run.push(directions)
    base = flat(found.outputs)
    if expected is not None and (expected.shape != base.shape or not _is_same(base, expected)):
        return None
    right, left = (_flat_tangents(found, side) for side in ("right", "left"))
    right_error, left_error = (ULPS * EPSILON * np.abs(side) for side in (right, left))
    evaluations = run.evaluations
    for _ in range(PROBES):
        probe = _Pass(traced, inputs, random, ways=run.ways, efforts=dict(run.efforts))
        other = probe.push(directions)
        evaluations += probe.evaluations
        right_error = np.fmax(right_error, np.abs(_flat_tangents(other, "right") - right))
        left_error = np.fmax(left_error, np.abs(_flat_tangents(other, "left") - left))
    made = known(base, left, right, SAFETY * left_error, SAFETY * right_error, evaluations=evaluations)
    return made if np.isfinite(made.left_error).any() else None


def _is_same(found: Floats, expected: Floats) -> bool:
    """Whether outputs are the same up to round-off: a rewritten program may sum in another order."""
    size = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0))
    both = np.isfinite(found) & np.isfinite(expected)
    return bool((np.abs(found - expected)[both] <= SAME * size).all())


def _flat_tangents(pushed: Pushed, side: str) -> Floats:
    parts = [
        np.zeros(values.shape) if tangent is None else getattr(tangent, side)
        for values, tangent in zip(pushed.outputs, pushed.tangents, strict=True)
    ]
    return flat(parts)


@dataclass(slots=True, eq=False)
class _Pass:
    """One run with tangents; with `random`, everything on the way is off by a few round-offs.

    `ways` and `efforts` say how the first run derived each stage, and what its ladders took.
    """

    traced: Traced
    inputs: Sequence[Array]
    random: np.random.Generator | None = None
    ways: dict[str, str] = field(default_factory=dict)
    efforts: dict[str, int] = field(default_factory=dict)
    evaluations: int = 0
    values: dict[Key, Array] = field(default_factory=dict)
    tangents: dict[Key, Tangent | None] = field(default_factory=dict)

    def push(self, directions: Mapping[int, Array]) -> Pushed:
        """Values and tangents of the outputs."""
        for k, values in enumerate(self.inputs):
            self.values[f"x{k}", 0] = self._stirred(values)
            v = directions.get(k)
            tangent = None if v is None else laid(np.asarray(v, dtype=np.float64), strides_of(values))
            self.tangents[f"x{k}", 0] = None if tangent is None else Tangent(tangent, tangent)
        self.values |= self.traced.constants
        self.tangents |= dict.fromkeys(self.traced.constants)
        for k, stage in enumerate(self.traced.stages):
            self._stage(f"v{k}", stage)
        chosen = [(self.values[key], self.tangents[key]) for key in self.traced.outputs]
        floating = [(y, t) for y, t in chosen if y.dtype.kind == "f"]
        return Pushed(tuple(y for y, _ in floating), tuple(t for _, t in floating))

    def _stirred(self, values: Array, error: Array | float = 0.0) -> Array:
        """The values off by round-offs and by a part of `error`; zeros, integers and ties stay what they are."""
        if self.random is None or values.dtype.kind != "f":
            return values
        # Never near zero, where one source of error alone would hide; never all alike, where two would cancel.
        away = self.random.choice([-1.0, 1.0], values.shape) * self.random.uniform(0.5, 1.0, values.shape)
        off = ULPS * EPSILON * np.abs(values) + error
        moved = np.where(is_special(values) & (error == 0.0), values, values + away * off)
        return laid(moved, strides_of(values))

    # One stage ---------------------------------------------------------------------------------------------------

    def _stage(self, name: str, stage: Stage) -> None:
        operands = [key for key in stage.operands if self.values[key].dtype.kind == "f"]
        values = [self.values[key] for key in operands]
        op = self._op(stage)
        results = op(values)
        made: list[Tangent | None] = [None] * len(results)
        tangents = [self.tangents[key] for key in operands]
        floating = [i for i, result in enumerate(results) if result.dtype.kind in "fc"]
        if floating and any(t is not None for t in tangents) and is_differentiable(stage.op):
            if any(results[i].dtype != np.float64 for i in floating):
                raise _Unknown("a result that is not float64")
            for i, tangent in zip(floating, self._derived(name, stage, op, values, tangents, results), strict=True):
                made[i] = tangent
        for item, result in enumerate(results):
            self.values[name, item], self.tangents[name, item] = self._stirred(result), made[item]

    def _op(self, stage: Stage) -> Op:
        """The stage as a function of its floating operands."""
        arrays = [self.values[key] for key in stage.operands]

        def call(operands: Sequence[Array]) -> Arrays:
            given = iter(operands)
            self.evaluations += 1
            return stage.run([next(given) if values.dtype.kind == "f" else values for values in arrays])

        return call

    def _derived(
        self, name: str, stage: Stage, op: Op, values: list[Array], tangents: list[Tangent | None], results: Arrays
    ) -> list[Tangent]:
        """The tangents of the floating results."""
        rights = [None if t is None else t.right for t in tangents]
        if all(t is None or t.is_smooth for t in tangents):
            sides = self._along(name, stage, op, values, rights, results)
            return [Tangent(right, left) for right, left in sides]
        lefts = [None if t is None else t.left for t in tangents]
        to_right = self._along(f"{name} right", stage, op, values, rights, results)
        to_left = self._along(f"{name} left", stage, op, values, lefts, results)
        return [Tangent(right, left) for (right, _), (_, left) in zip(to_right, to_left, strict=True)]

    def _along(
        self, name: str, stage: Stage, op: Op, values: list[Array], tangents: list[Array | None], results: Arrays
    ) -> list[tuple[Array, Array]]:
        """Right and left derivatives of the op along the tangents; one array twice, where it is smooth."""
        base = floating(results)
        filled = [np.zeros_like(x) if t is None else t for x, t in zip(values, tangents, strict=True)]
        exact: list[Array] | None = [np.zeros(y.shape) for y in base]
        if any(t.any() for t in filled):
            # What the first pass found not to hold as declared, or held, is not tried again.
            way = self.ways.get(name, structure(stage.op))
            exact = pushed(way, op, values, filled, results, is_tried=self.random is None)
            if self.random is None:
                self.ways[name] = way if exact is not None else ""
        if exact is not None:
            made = [laid(self._stirred(t), strides_of(y)) for t, y in zip(exact, base, strict=True)]
            return [(t, t) for t in made]
        return self._laddered(name, op, values, filled, base)

    def _laddered(
        self, name: str, op: Op, values: list[Array], tangents: list[Array], base: list[Array]
    ) -> list[tuple[Array, Array]]:
        """By difference quotients of the op's own forward along the tangent."""
        found, self.efforts[name] = laddered(op, values, tangents, base, self.efforts.get(name))
        is_smooth = bool((found.smooth | ~np.isfinite(found.error)).all())
        (right, right_error), (left, left_error) = (
            tuple(split(part, base) for part in one_sided(found, side)) for side in ("right", "left")
        )
        made: list[tuple[Array, Array]] = []
        for i, y in enumerate(base):
            one = laid(self._stirred(right[i], right_error[i]), strides_of(y))
            other = one if is_smooth else laid(self._stirred(left[i], left_error[i]), strides_of(y))
            made.append((one, other))
        return made
