"""A directional derivative by a method that shares nothing with the ladder's, so that their blind spots differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.checks.evaluation import as_tuple
from gradcheck.checks.laid import laid, strides_of
from gradcheck.checks.move import Move
from gradcheck.checks.numeric_forward import numeric_forward
from gradcheck.checks.viewpoint import Viewpoint
from gradcheck.numeric.complex_step import complex_step
from gradcheck.numeric.derivative import Derivative
from gradcheck.numeric.differences import EFFORTS
from gradcheck.program import Array


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
        difference proves one of the two wrong. An opaque function's by a complex step, where it is analytic. None where
        neither can be had. Outputs of which nothing is known have an infinite error.
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
    return complex_step(_Complex(at, move, inputs), at.base, ladder)


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
