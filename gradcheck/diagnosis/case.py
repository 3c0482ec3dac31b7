"""A wrong gradient with what was measured of it, and what may be asked about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation
from gradcheck.checks.passes import contiguous
from gradcheck.diagnosis.slopes import Slopes, measured, pulled, spread
from gradcheck.failures import Finding
from gradcheck.numeric import directions
from gradcheck.numeric.differences import Floats
from gradcheck.program import Array

# Entries measured in all, and those of a probe beside the point.
_ENTRIES = 64
PROBED = 6
# A backward is linear up to this part of its largest entry; a coarser one in float32.
_LINEAR = 1e-9
_NARROW_LINEAR = 1e-3


@dataclass(slots=True, eq=False)
class Case:
    """A wrong gradient, and what was measured of it.

    Attributes
    ----------
    subject : Subject
    inputs : tuple of arrays
        Contiguous.
    finding : Finding
    first : Subject or None
        Where the gradient is right, if that is known.
    evaluation : Evaluation
    u : array
        A cotangent of both signs.
    """

    subject: Subject
    finding: Finding
    first: Subject | None = None
    inputs: tuple[Array, ...] = ()
    evaluation: Evaluation = field(init=False)
    u: Floats = field(init=False)
    slopes: dict[int, Slopes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = self.inputs or tuple(contiguous(x) for x in self.subject.inputs)
        self.evaluation = self.recorded(self.inputs)
        self.u = directions.cotangent(self.subject.generator("diagnosis"), self.evaluation.size)
        for k in self.moved:
            self.slopes[k] = measured(self.subject, self.inputs, self.u, k, self._places(k))

    @property
    def moved(self) -> tuple[int, ...]:
        """The inputs that are differentiated."""
        return self.evaluation.moved

    @property
    def wrong(self) -> list[Slopes]:
        """The inputs whose gradient is wrong at one of the entries measured."""
        return [slopes for slopes in self.slopes.values() if slopes.wrong.any()]

    @property
    def linear(self) -> float:
        """Up to which part of its size two gradients are the same."""
        return _LINEAR if self.subject.epsilon < 1e-12 else _NARROW_LINEAR

    def recorded(self, inputs: Sequence[Array]) -> Evaluation:
        """A record of its own at these inputs."""
        return Evaluation(replace(self.subject, inputs=tuple(inputs)))

    def fresh(self, u: Floats, k: int) -> Floats:
        """The gradient of input `k` from a record of its own."""
        return pulled(self.recorded(self.inputs), u)[k]

    def probed(self, inputs: Sequence[Array], k: int, places: Array) -> Slopes | None:
        """The same measurement elsewhere; None where the function refuses."""
        try:
            size = self.evaluation.size
            if any(a.shape != b.shape for a, b in zip(inputs, self.inputs, strict=True)):
                size = self.recorded(inputs).size
            u = self.u if size == self.evaluation.size else directions.cotangent(self._random(), size)
            return measured(self.subject, inputs, u, k, places)
        except Exception:  # whatever a user's function raises beside its point
            return None

    def _random(self) -> np.random.Generator:
        return self.subject.generator("diagnosis: probe")

    def _places(self, k: int) -> Array:
        evidence, entry, shape = self.finding.evidence, self.finding.entry, self.inputs[k].shape
        also = []
        if evidence is not None and evidence.position == k and entry and len(entry) == len(shape):
            also = [int(np.ravel_multi_index(entry, shape, mode="clip"))]
        return spread(self.inputs[k].size, max(8, _ENTRIES // len(self.moved)), also)


def near(a: Floats, b: Floats, part: float) -> bool:
    """Whether two gradients are the same, up to a part of the larger one."""
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
        return bool(np.all((np.abs(a - b) <= part * size) | (~np.isfinite(a) & ~np.isfinite(b))))
