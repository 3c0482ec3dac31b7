"""What to write where a wrong gradient is meant: a declaration in the class body, or a wider tolerance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradcheck.checks.claim import Subject
from gradcheck.checks.evaluation import Evaluation, flat
from gradcheck.numeric import directions
from gradcheck.numeric.differences import Floats, Ladder
from gradcheck.verdict import Outcome

# A gradient off by less is an approximation; by more, a mistake until someone says otherwise.
APPROXIMATE = 1e-4
# The narrowest tolerance that tolerates anything: the default, 1e-6, is what is looked for.
_LEAST_RTOL = 2e-6
# Entries that must follow a pattern: one number fits too much.
_ENTRIES = 2
_SAME = 1e-9
# Of the cotangents: a usual one, and one that any clipping cuts.
_SIZES = (1.0, 64.0)
# Single entries are looked at up to so many; of more, so many random directions.
_LOOKS = 6
_EFFORT = 0


def suggestion(subject: Subject, outcome: Outcome) -> str:
    """One sentence with the line that would make a failure a declared one; "" where none suggests itself.

    Parameters
    ----------
    subject : Subject
    outcome : Outcome
        The disagreement of `vjp_matches_numeric` on it.

    Notes
    -----
    Patterns must hold at the subject's point and at another one, for two cotangents each.
    """
    finding = outcome.finding
    if finding is None or finding.analytic is None or finding.numeric is None:
        return ""
    pattern = _pattern(_points(subject))
    if pattern:
        owner = _owner(finding.where, finding.call)
        return f'the gradient {pattern}; if this is meant, put __gradcheck_surrogate__ = "why" in the class body{owner}'
    error = relative_error(subject)
    if 0.0 < error < APPROXIMATE:
        return (
            f"the gradient is off by {error:.1g} of its size; if it is meant to be an approximation, mark the test "
            f"@pytest.mark.gradcheck(rtol={max(_rounded_up(2.0 * error), _LEAST_RTOL):g})"
        )
    return ""


def relative_error(subject: Subject) -> float:
    """How far the gradients miss the slopes, in units of the slopes' size; at the subject's point and at one nearby.

    Infinite where that cannot be told.
    """
    return max(_error(at, subject) for at in _points(subject))


def _points(subject: Subject) -> list[Evaluation]:
    """The subject at its point, and at one nearby, where the values of a pattern by chance are others."""
    here = Evaluation(subject)
    random = subject.generator("suggestion")
    moves = {k: directions.direction(random, here.point(k)) for k in here.moved}
    try:
        there = Evaluation(replace(subject, inputs=here.moved_inputs(moves, 0.137)))
    except Exception:  # off the domain of a stranger's function
        return [here]
    return [here, there] if there.size == here.size and np.isfinite(flat(there.outputs)).all() else [here]


# A gradient that is the cotangent, changed -------------------------------------------------------------------------


def _pattern(points: list[Evaluation]) -> str:
    """How the gradients of all inputs that have one follow from the cotangent, in words; "" where they do not."""
    pairs = [pair for at in points for k in at.moved for pair in _pairs(at, k)]
    if not pairs:
        return ""
    for fits, words in ((_is_same, ""), (_is_reversed, "minus "), (_is_clipped, "a clip of ")):
        if all(any(fits(gradients, cotangents) for cotangents in made) for gradients, made in pairs):
            return f"is {words}the cotangent"
    return ""


def _pairs(at: Evaluation, k: int) -> Iterator[tuple[list[Floats], list[list[Floats]]]]:
    """An input's gradients for two cotangents, one of them large, and those cotangents for each output that may fit."""
    u = directions.cotangent(at.subject.generator("suggestion: cotangents"), at.size)
    found = [at.pullback(size * u)[k] for size in _SIZES]
    gradients = [np.zeros(at.point(k).size) if g is None else flat([g]) for g in found]
    if any(g.any() for g in gradients):
        parts = list(_parts(at, u, gradients[0].size)) if gradients[0].size >= _ENTRIES else []
        yield gradients, [[size * part for size in _SIZES] for part in parts]


def _parts(at: Evaluation, u: Floats, size: int) -> Iterator[Floats]:
    """The cotangents of the outputs that have as many entries."""
    start = 0
    for output in at.outputs:
        if output.size == size:
            yield u[start : start + size]
        start += output.size


def _close(a: Floats, b: Floats) -> bool:
    return bool(np.allclose(a, b, rtol=_SAME, atol=0.0))


def _is_same(gradients: list[Floats], cotangents: list[Floats]) -> bool:
    return all(_close(g, u) for g, u in zip(gradients, cotangents, strict=True))


def _is_reversed(gradients: list[Floats], cotangents: list[Floats]) -> bool:
    return all(_close(g, -u) for g, u in zip(gradients, cotangents, strict=True))


def _is_clipped(gradients: list[Floats], cotangents: list[Floats]) -> bool:
    """Cut at one height, or shortened to one length; the large cotangent shows which, the other must follow."""
    height, length = float(np.abs(gradients[-1]).max()), float(np.linalg.norm(gradients[-1]))
    pairs = list(zip(gradients, cotangents, strict=True))
    by_value = all(_close(g, np.clip(u, -height, height)) for g, u in pairs)
    return by_value or all(_close(g, u * min(1.0, length / float(np.linalg.norm(u)))) for g, u in pairs)


def _owner(where: str | None, call: str) -> str:
    """`` of RowMax``, from where its backward stands or how it is called."""
    found = re.search(r" in ([\w.<>]+)\.\w+$", where or "") or re.match(r"(\w+)\.apply\(", call)
    return f" of {found.group(1)}" if found else ""


# A gradient that is an approximation -------------------------------------------------------------------------------


def _error(at: Evaluation, subject: Subject) -> float:
    """The relative error at one point."""
    random = subject.generator("suggestion: slopes")
    u = directions.cotangent(random, at.size)
    gradients = at.pullback(u)
    worst = 0.0
    for k in at.moved:
        found = gradients[k]
        gradient = np.zeros(at.point(k).size) if found is None else flat([found])
        misses, sizes = [], []
        for v in _directions(random, at, k):
            derivative = Ladder(at.along({k: v.reshape(at.point(k).shape)}, dense=True)).derivative(_EFFORT)
            slope = float(u @ np.where(u != 0.0, derivative.value, 0.0))
            length = float(np.linalg.norm(v))
            misses.append(abs(float(gradient @ v) - slope) / length)
            sizes.append(abs(slope) / length)
        size = max(sizes)
        if not np.isfinite(misses).all() or (size == 0.0 and any(misses)):
            return float("inf")
        worst = max(worst, max(misses) / size if size else 0.0)
    return worst


def _directions(random: np.random.Generator, at: Evaluation, k: int) -> list[Floats]:
    point = at.point(k)
    if point.size > _LOOKS:
        return [flat([directions.direction(random, point)]) for _ in range(_LOOKS)]
    return list(np.diag(np.abs(flat([directions.direction(random, point)]))))


def _rounded_up(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= value * (1.0 - 1e-9)))
