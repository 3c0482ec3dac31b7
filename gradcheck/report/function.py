"""What the check of one observed Function came to, as plain data that travels between processes, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How the check of a Function ended, the worst last."""

    UNCHECKED = "not checked"
    AGREED = "agreed"
    DELIBERATE = "deliberate"
    INCONCLUSIVE = "inconclusive"
    DISAGREED = "disagreed"


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """One (Function, input signature). Every field is a str, a number, a bool or a tuple of str.

    Attributes
    ----------
    name : str
        ``pkg.ops:RowMax``.
    where : str
        ``pkg/ops.py:41 in RowMax.backward``; "" where there is no source.
    engine : str
        "torch-cpu".
    signature : str
        In words: ``x0 float32 (2-d), x1 int64 (1-d), 3``.
    status : Status
    reason : str
        Why it is inconclusive, deliberate or not checked; else "".
    code, claim : str
        Of the first claim that does not hold: "GC101", "vjp_matches_numeric"; else "".
    failing : tuple of str
        Every claim that does not hold: "GC101 vjp_matches_numeric".
    headline : str
        The failure in one line, without the place.
    mistake : str
        The usual mistake that it looks like, in the words of `Mistake`; "" where it looks like none.
    report : str
        The failure in at most 22 lines (the plugin adds how to see it again and where the script lies); else "".
    script : str
        Source of a stand-alone script that shows the failure and exits 1; "" where there can be none.
    script_problem : str
        Why there is none.
    resolution : float
        The relative size of an error that would still have been seen.
    tried, undecided : int
        Inputs looked at, the first and the drawn ones, where there was a derivative, and how many were inconclusive.
    is_blind : bool
        The call itself showed nothing: the derivative is zero there, or inconclusive, or it could not be made again.
    doubts : tuple of str
        Why inputs were inconclusive, a reason for each.
    evaluations : int
        Calls of the Function.
    seconds : float
        Wall-clock time spent.
    notes : tuple of str
        Unsupported claims, warnings, findings off the domain seen, what the budget cut, what was not kept.
    """

    name: str
    where: str = ""
    engine: str = ""
    signature: str = ""
    status: Status = Status.AGREED
    reason: str = ""
    code: str = ""
    claim: str = ""
    failing: tuple[str, ...] = ()
    headline: str = ""
    mistake: str = ""
    report: str = ""
    script: str = ""
    script_problem: str = ""
    resolution: float = 0.0
    tried: int = 0
    undecided: int = 0
    is_blind: bool = False
    doubts: tuple[str, ...] = ()
    evaluations: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
