"""A function whose inputs always lay on a set, composed with the projection onto it: only slopes along the set count.

The gradient of a function of symmetric matrices, probabilities or unit vectors is a matter of convention off the set:
any multiple of the normal may be added to it, and a user who stays on the set never meets the difference. The composed
function has the same values there and one gradient, whichever convention the backward follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradcheck.checks.claim import Subject
from gradcheck.engines.base import Engine
from gradcheck.observation.facts import Facts


@dataclass(frozen=True, slots=True)
class Projection:
    """Onto the set on which an input was always seen.

    Attributes
    ----------
    onto : str
        "symmetric", "probabilities" or "unit vectors".
    axis : int
        The axis of the probabilities or unit vectors, counted from the back.
    """

    onto: str
    axis: int = -1

    def source(self, name: str) -> str:
        """The projection of the variable `name` as PyTorch source text."""
        if self.onto == "symmetric":
            return f"({name} + {name}.mT) / 2"
        if self.onto == "probabilities":
            return f"{name} / {name}.sum({self.axis}, keepdim=True)"
        return f"{name} / ({name} * {name}).sum({self.axis}, keepdim=True).sqrt()"

    def apply(self, engine: Engine, x: Any) -> Any:
        """The projection of a tensor, in ops that the engine differentiates."""

        def call(op: str, *args: Any, **kwargs: Any) -> Any:
            return engine.call(op, args, kwargs)

        if self.onto == "symmetric":
            return call("div", call("add", x, call("mT", x)), 2.0)
        if self.onto == "probabilities":
            return call("div", x, call("sum", x, self.axis, keepdim=True))
        return call("div", x, call("sqrt", call("sum", call("mul", x, x), self.axis, keepdim=True)))


def projection_of(facts: Facts) -> Projection | None:
    """The projection that the facts ask for; None where the input moved freely.

    Of several, one: the nearest point of one set seldom lies on the other, so that one after the other projects onto
    neither. Slices along the last axis come first, since nobody's matrices have them by accident; then symmetry; then
    slices along other axes. Labels, one-hot, are probabilities rather than unit vectors.
    """
    lanes = [("probabilities", axis) for axis in facts.sums_to_one] + [
        ("unit vectors", axis) for axis in facts.unit_norm
    ]
    for onto, axis in lanes:
        if axis == -1:
            return Projection(onto, axis)
    if facts.is_symmetric:
        return Projection("symmetric")
    return Projection(*lanes[0]) if lanes else None


def kept_on(subject: Subject, facts: Sequence[Facts]) -> tuple[Subject, Mapping[int, str]] | None:
    """The subject of the function composed with projections onto the sets on which its inputs were always seen.

    Parameters
    ----------
    subject : Subject
    facts : sequence of Facts
        One for each input.

    Returns
    -------
    pair of Subject and mapping from the number of an input to its projection's source text, or None
        None where no differentiated input was kept on a set; signs and ranges ask for no projection, as each of their
        points but those on the rim can be left in every direction.

    Notes
    -----
    At a point of the set the composed function has the value of the given one, up to round-off.
    """
    found = {
        k: projection
        for k, (known, wanted) in enumerate(zip(facts, subject.differentiable, strict=True))
        if wanted and subject.inputs[k].dtype.kind == "f" and (projection := projection_of(known)) is not None
    }
    if not found:
        return None
    function = _Composed(subject.function, subject.engine, found)
    return replace(subject, function=function, program=None), {k: p.source(f"x{k}") for k, p in found.items()}


@dataclass(frozen=True, slots=True)
class _Composed:
    """The function of projected inputs."""

    function: Callable[..., Any]
    engine: Engine
    projections: Mapping[int, Projection]

    def __call__(self, *tensors: Any) -> Any:
        given = list(tensors)
        for k, projection in self.projections.items():
            given[k] = projection.apply(self.engine, given[k])
        return self.function(*given)
