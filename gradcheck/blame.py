"""In a failing program of several ops: which op's own backward is wrong, or that only their composition is."""

from __future__ import annotations

from gradcheck.checks.claim import Claim, Subject
from gradcheck.checks.opwise import Apart, Gap, Local, composed_otherwise, taken_apart
from gradcheck.failures import Unsupported, named

COMPOSED = "vjp_matches_numeric"
"""The claim of which a composition of ops can be wrong where each op is right."""
NAMED = 3
"""More ops than this are counted, not named."""


def blame(claim: Claim, subject: Subject) -> str:
    """Name the op that breaks a claim in a program that does.

    Parameters
    ----------
    claim : Claim
        The one that does not hold. It is asked of each step alone, at the values that occurred.
    subject : Subject
        The failing program.

    Returns
    -------
    str
        "step v2, tanh, breaks it alone, at the values that occurred"; "each op holds it alone, and what the engine
        makes of them does not ..."; "" for a single step, a claim about whole programs, and where nothing can be said.
    """
    if subject.program is None or len(subject.program.steps) < 2 or claim.kind != "function":
        return ""
    try:
        apart = taken_apart(subject)
        wrong = [words for local in apart.steps if (words := _broken(claim, local, apart))]
        if wrong:
            more = f", and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            return "; ".join(wrong[:NAMED]) + more
        return _composition(subject, apart) if claim.name == COMPOSED else ""
    except Exception:  # blame is said beside a finding, which stands without it
        return ""


def _broken(claim: Claim, local: Local, apart: Apart) -> str:
    """How one step breaks the claim alone, in words; "" if it does not, or cannot be tried."""
    place = f"{local.op}, as a step without in-place writes," if apart.is_rewritten else str(local)
    try:
        outcome = claim.check(local.subject)
    except Unsupported:
        return ""
    except Exception as error:
        return f"{place} raises {named(error)}"
    return "" if outcome.finding is None else f"{place} breaks it alone, at the values that occurred"


def _composition(subject: Subject, apart: Apart) -> str:
    gap = composed_otherwise(subject, apart, subject.generator("blame"))
    if not isinstance(gap, Gap):
        return ""
    means = "in-place steps, views or accumulation" if apart.is_rewritten else "accumulation or views"
    where = f"entry {list(gap.entry)} of x{gap.argument}'s gradient is {gap.whole:.6g}, composed {gap.composed:.6g}"
    return f"each op holds it alone, and what the engine makes of them does not ({means}): {where}"
