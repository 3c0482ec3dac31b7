"""What a check says: agree, disagree or inconclusive, with the reason; never a bare bool."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck.failures import Finding


class Verdict(StrEnum):
    """The three ends of a comparison."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one check of one claim on one subject.

    Attributes
    ----------
    verdict : Verdict
    reason : str
        Why it is inconclusive (one of a few short fixed phrases, so that they can be counted), else "".
    finding : Finding or None
        What a disagreement shows; None otherwise.
    vacuous : bool
        Nothing was really tested: an empty or disconnected program, or a derivative that is zero everywhere.
    resolution : float
        The relative size of an error that would still have been seen (0.0 where the claim is exact).
    """

    verdict: Verdict
    reason: str = ""
    finding: Finding | None = None
    vacuous: bool = False
    resolution: float = 0.0


AGREED = Outcome(Verdict.AGREE)
VACUOUS = Outcome(Verdict.AGREE, vacuous=True)
