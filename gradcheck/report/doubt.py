"""GC901 for users' Functions: which were inconclusive too often, why, and what helps. Text only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gradcheck.numeric.derivative import EDGE, KINK, NEAR_KINK, NOISE, NOT_FINITE, ONE_SIDED
from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.terminal import TOO_OFTEN

CODE, CLAIM = "GC901", "too_often_inconclusive"
_REASONS_SHOWN = 3
_DOMAIN = "@pytest.mark.gradcheck(domain=(low, high))"
# What helps, by how a reason begins; the longer one first where one begins like another.
_REMEDIES = (
    (NEAR_KINK, f"its kinks are too close: call it in a test with values away from them, or keep to others, {_DOMAIN}"),
    (KINK, f"it was looked at where it has kinks: call it in a test with values away from them, or {_DOMAIN}"),
    (EDGE, f"it was looked at where its values end or explode: say where values may lie, {_DOMAIN}"),
    (ONE_SIDED, f"it was looked at where its domain ends, which its gradient does not tell: keep inside, {_DOMAIN}"),
    (NOT_FINITE, f"values or gradients were not finite: say where values may lie, {_DOMAIN}"),
    (NOISE, "its values have too few digits: use float64, or say what is enough, @pytest.mark.gradcheck(rtol=1e-3)"),
    ("random", "it draws random numbers of its own: let it take them as an argument, so that they can be held"),
    ("the check ended", "the check itself came to no end: call the backward in a test, and look at what it raises"),
)  # fmt: skip
_OTHERWISE = "call it in a test at other values, or in a test with the fixture gradcheck, whose report says more"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A Function that was inconclusive too often.

    Attributes
    ----------
    name : str
        ``pkg.ops:RowMax``.
    tried, undecided : int
        Inputs, and those of them that were inconclusive.
    reasons : tuple of (str, int)
        Why, the most frequent first.
    """

    name: str
    tried: int
    undecided: int
    reasons: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        share = f"{self.undecided / self.tried:.0%}"
        counted = ", ".join(f"{reason} ({count})" for reason, count in self.reasons[:_REASONS_SHOWN])
        more = len(self.reasons) - _REASONS_SHOWN
        counted += f" and {more} reason{'s' * (more > 1)} more" if more > 0 else ""
        text = f"{CODE} {self.name}: {self.undecided} of {self.tried} inputs were inconclusive ({share})"
        return f"{text}: {counted}" if counted else text

    @property
    def remedy(self) -> str:
        """What helps against the most frequent reason."""
        reason = self.reasons[0][0] if self.reasons else ""
        return next((remedy for start, remedy in _REMEDIES if reason.startswith(start)), _OTHERWISE)


def doubt_of(name: str, results: Sequence[FunctionResult]) -> Doubt | None:
    """Whether a Function was inconclusive at more than a fifth of the inputs it was looked at; None where it was not.

    Where its gradient is another one on purpose, nothing was to be decided.
    """
    counted = [result for result in results if result.status is not Status.DELIBERATE]
    tried = sum(result.tried for result in counted)
    undecided = sum(result.undecided for result in counted)
    if undecided <= TOO_OFTEN * tried:
        return None
    reasons = Counter(reason for result in counted for reason in result.doubts)
    return Doubt(name, tried, undecided, tuple(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))))
