"""An evaluation seen through a few random cotangents: in a narrow precision, or where the outputs are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, Sampled, flat, split
from gradcheck.checks.line import Mapped
from gradcheck.numeric import directions
from gradcheck.numeric.differences import Curve, Floats
from gradcheck.program import Array

# How many weighted sums of the outputs stand for them.
ROWS = 4
# How far away the size of the outputs is looked at too: where all are 0, their round-off shows there.
_AROUND = 0.25


class Projected(Evaluation):
    """An evaluation whose outputs are weighted sums of the function's own, in float64.

    The rounding errors of many outputs then add up as random numbers do, and not all one way, as one has to assume of
    errors that are only known one by one: in float16, those of a hundred outputs would hide any mistake.

    Parameters
    ----------
    subject : Subject
    random : numpy Generator
        Draws the weights.
    sample : callable or None
        As in `Evaluation`.
    like : Projected or None
        One of the same function elsewhere, whose weights and round-off are taken over.

    Attributes
    ----------
    is_finite : bool
        All outputs are: others would spoil each sum.
    """

    def __init__(
        self,
        subject: Subject,
        random: np.random.Generator,
        sample: Sampled | None = None,
        like: Projected | None = None,
    ) -> None:
        super().__init__(subject, sample)
        self._random = random
        self._own, self._count = self.outputs, self.size
        own = flat(self.outputs)
        self.is_finite = bool(np.isfinite(own).all())
        if like is None or like._count != own.size:
            self._weights = _drawn(random, own.size)
            self.floor = self.epsilon * np.sqrt((self._weights**2) @ self._around() ** 2)
        else:
            self._weights, self.floor = like._weights, like.floor
        self.outputs = (self._sums(own),)
        self.size = self.outputs[0].size

    def cotangents(self, u: Floats) -> tuple[Array, ...]:
        """The cotangents of the function's outputs that cotangents of the sums stand for, in the outputs' dtypes."""
        parts = zip(split(u @ self._weights, self._own), self._own, strict=True)
        return tuple(part.astype(values.dtype) for part, values in parts)

    def at(self, inputs: Sequence[Array]) -> Evaluation:
        """The same sums at other inputs."""
        return Projected(self.at_inputs(inputs), self._random, self._given, self)

    def along(self, directions: dict[int, Floats], *, dense: bool = False) -> Curve:
        """The sums along a line."""
        return Mapped(self.curve(directions, self._count, dense=dense), self._sums)

    def _sums(self, values: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.asarray(self._weights @ values)

    def _around(self) -> Floats:
        """The largest size of each output, here and on both sides."""
        found = np.abs(flat(self._own))
        moves = {k: directions.direction(self._random, self.point(k)) for k in self.moved}
        curve = self.curve(moves, self._count, dense=True)
        for t in (_AROUND, -_AROUND):
            with np.errstate(all="ignore"):
                values = np.abs(curve(t))
            found = np.maximum(found, np.where(np.isfinite(values), values, 0.0))
        return found


def _drawn(random: np.random.Generator, size: int) -> Floats:
    """Weights of both signs for each output; a single output has one weight, 1."""
    if size == 1:
        return np.ones((1, 1))
    return np.array([2.0 ** random.integers(-1, 2, size=size) * directions.signs(random, size) for _ in range(ROWS)])
