"""Inputs of other sizes: a part of a large one that is quicker to call, and axes that must not grow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.passes import contiguous, place, run
from gradcheck.functions.variation import variations
from gradcheck.observation.facts import Facts
from gradcheck.program import Array

# Entries of the inputs, or of the outputs, beyond which the claims that call a Function hundreds of times look at a
# part: up to here the time goes into the calls themselves rather than into their arithmetic.
LARGE = 1024
# An axis so short may be one of coordinates, of which forward reads as many as it knows.
_COORDINATES = 4
# Sizes that axes are cut to, the longest axis first: distinct, so that what belongs together shows.
_SHORT = (5, 7, 3, 11, 6, 13, 4, 2)


def portion_of(subject: Subject, facts: Sequence[Facts], fixed_sizes: Collection[int]) -> Subject | None:
    """The subject at a part of its inputs, all axes of one size cut together; None where it is small enough.

    Parameters
    ----------
    subject : Subject
    facts : sequence of Facts
        One for each input. Where a sum or a norm was kept, a part would not keep it: then a small variation is drawn.
    fixed_sizes : collection of int
        Sizes that the call names among its other arguments.

    Notes
    -----
    Where the forward refuses each part, or gives values that are not finite, there is none: None too.
    """
    if max(sum(x.size for x in subject.inputs), _outputs(subject) or 0) <= LARGE:
        return None
    normed = any(f.sums_to_one or f.unit_norm for f in facts)
    inputs = None if normed else _cut(subject, fixed_sizes)
    if inputs is None:
        inputs = next(_drawn(subject, facts, fixed_sizes), None)
    return None if inputs is None else replace(subject, inputs=inputs)


def ignores_growth(subject: Subject, grown: Subject, outputs: Sequence[Array]) -> bool:
    """Whether a short axis grew and what it gained changes nothing: a point has as many coordinates as it has.

    Parameters
    ----------
    subject, grown : Subject
        Before and after.
    outputs : sequence of arrays
        Of `grown`.
    """
    inputs = list(grown.inputs)
    for k, (old, new) in enumerate(zip(subject.inputs, grown.inputs, strict=True)):
        for axis, (n, m) in enumerate(zip(old.shape, new.shape, strict=False)):  # without axes, nothing grew
            if 1 < n <= _COORDINATES and m > n and new.dtype.kind == "f":
                gained = np.arange(m).reshape([m if a == axis else 1 for a in range(new.ndim)]) >= n
                inputs[k] = (inputs[k] * np.where(gained, 1.0 - 2.0**-7, 1.0)).astype(new.dtype)
    if all(x is given for x, given in zip(inputs, grown.inputs, strict=True)):
        return False
    moved = replace(grown, inputs=tuple(inputs))
    found = [subject.engine.array(y) for y in run(moved, place(moved, moved.inputs))]
    return all(np.array_equal(a, b) for a, b in zip(found, outputs, strict=True))


def _cut(subject: Subject, fixed_sizes: Collection[int]) -> tuple[Array, ...] | None:
    """One size after the other, the largest first, for as long as forward goes along; None if nothing was cut."""
    inputs = subject.inputs
    sizes = sorted({n for x in inputs for n in x.shape if n not in fixed_sizes}, reverse=True)
    free = [n for n in _SHORT if n not in sizes and n not in fixed_sizes]
    for size in sizes:
        new = next((n for n in free if n < size), None)
        if new is None or sum(x.size for x in inputs) <= LARGE // 8:
            continue
        cut = tuple(_shortened(x, size, new) for x in inputs)
        if _outputs(replace(subject, inputs=cut)) is not None:
            inputs = cut
            free.remove(new)
    return None if inputs is subject.inputs else inputs


def _shortened(x: Array, size: int, new: int) -> Array:
    index = tuple(slice(0, new) if n == size else slice(None) for n in x.shape)
    return contiguous(x[index]) if size in x.shape else x


def _drawn(subject: Subject, facts: Sequence[Facts], fixed_sizes: Collection[int]) -> Iterator[tuple[Array, ...]]:
    """Drawn variations that are small, and that forward takes."""
    drawn = variations(
        subject.inputs, facts, subject.generator("portion"),
        differentiable=subject.differentiable, fixed_sizes=fixed_sizes,
    )  # fmt: skip
    for variation in drawn:
        if sum(x.size for x in variation.inputs) <= LARGE:
            count = _outputs(replace(subject, inputs=variation.inputs))
            if count is not None and count <= LARGE:
                yield variation.inputs


def _outputs(subject: Subject) -> int | None:
    """How many entries the outputs have; None where forward refuses the inputs or gives what is not finite."""
    try:
        with subject.engine.no_grad():
            outputs = [subject.engine.array(y) for y in run(subject, place(subject, subject.inputs))]
    except Exception:  # whatever a user's forward raises for inputs that it was not made for
        return None
    return sum(y.size for y in outputs) if all(np.isfinite(y).all() for y in outputs) else None
