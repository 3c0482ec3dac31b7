"""A directional derivative by a method that shares nothing with the ladder's, so that their blind spots differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from gradcheck.checks.evaluation import as_tuple
from gradcheck.checks.laid import laid, strides_of
from gradcheck.checks.move import Move
from gradcheck.checks.numeric_forward import numeric_forward, numeric_forward_of
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.engines.base import Engine, Function
from gradcheck.engines.traced import Traced, Tracing
from gradcheck.failures import OFF_DOMAIN
from gradcheck.numeric.complex_step import complex_step
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import EFFORTS
from gradcheck.program import Array

# Part of its size by which an entry moves, where the ops that a function called are tried for all that it does.
APART = 2.0**-8


def tangents(at: Viewpoint, move: Move, ladder: Derivative | None = None) -> Derivative | None:
    """J v at a viewpoint along a move, in float64.

    Parameters
    ----------
    at : Viewpoint
    move : Move
    ladder : Derivative or None
        The ladder's derivative along this move where it is known already; a complex step must agree with it.

    Returns
    -------
    Derivative or None
        A program's by numeric forward mode, which nothing compares with the ladder: that is for the caller, and a
        difference proves one of the two wrong. Another function's by a complex step, where it is analytic; where it is
        not, by numeric forward mode, if the engine can list the ops that it calls. None where nothing can be had.
        Outputs of which nothing is known have an infinite error.
    """
    evaluation = at.evaluation
    subject = evaluation.subject
    moved = [evaluation.point(k) for k in move.directions]
    if evaluation.is_narrow or any(values.dtype != np.float64 for values in (*moved, *evaluation.outputs)):
        return None
    inputs = evaluation.moved_inputs(move.directions, 0.0, dense=move.dense)
    if subject.program is not None:
        return numeric_forward(
            subject.program, subject.engine, inputs, move.directions, at.random, at.base
        )  # fmt: skip
    if ladder is None:
        ladder = at.measure(at.ladder(move), EFFORTS - 1)
    found = complex_step(_Complex(at, move, inputs), at.base, ladder)
    if found is not None and np.isfinite(found.error).all():
        return found
    return _pushed(at, move, inputs) or found


def _pushed(at: Viewpoint, move: Move, inputs: Sequence[Array]) -> Derivative | None:
    """Numeric forward mode for a function whose ops the engine can list; None where they are not all of it."""
    engine, function = at.evaluation.subject.engine, at.evaluation.subject.function
    if not isinstance(engine, Tracing):
        return None
    elsewhere = [
        laid(x * (1.0 + APART * at.random.uniform(-1.0, 1.0, x.shape)), strides_of(x)) if k in move.directions else x
        for k, x in enumerate(inputs)
    ]
    try:
        with engine.evaluating(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = engine.traced(function, [engine.tensor(x) for x in inputs])
            if traced is None or not _is_whole(engine, function, traced, elsewhere):
                return None
            return numeric_forward_of(traced, engine, inputs, move.directions, at.random, at.base)
    except OFF_DOMAIN:
        return None


def _is_whole(engine: Engine, function: Function, traced: Traced, elsewhere: Sequence[Array]) -> bool:
    """Whether the ops compute elsewhere what the function does there, to the last bit.

    A branch, a number that was read from a tensor, and what NumPy computed from its memory stand in the list of ops as
    they were.
    """
    with engine.no_grad():
        found = [engine.array(y) for y in as_tuple(function(*(engine.tensor(x) for x in elsewhere)))]
        expected = traced.replayed(elsewhere)
    return len(found) == len(expected) and all(map(_is_same, found, expected))


def _is_same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


class _Complex:
    """The flattened outputs at x + tv for complex t, every floating input complex, with the inputs' layouts."""

    def __init__(self, at: Viewpoint, move: Move, inputs: Sequence[Array]) -> None:
        self._subject, self._inputs, self._directions = at.evaluation.subject, inputs, move.directions

    def __call__(self, t: complex) -> Array:
        engine = self._subject.engine
        with engine.evaluating(), engine.no_grad():
            given = [engine.tensor(self._moved(k, values, t)) for k, values in enumerate(self._inputs)]
            found = [engine.array(y) for y in as_tuple(self._subject.function(*given))]
        outputs = [y.reshape(-1) for y in found if y.dtype.kind in "fc"]
        if not outputs or any(y.dtype != np.complex128 for y in outputs):
            raise TypeError("not every output is complex")
        return np.concatenate(outputs)

    def _moved(self, k: int, values: Array, t: complex) -> Array:
        if values.dtype.kind != "f":
            return values
        v = self._directions.get(k)
        return laid(values + (0j if v is None else t * v), strides_of(values))
