"""From a disagreement to the usual mistake that it looks like, in a few words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from gradcheck.checks.claim import Subject
from gradcheck.diagnosis.case import Case
from gradcheck.diagnosis.cotangent import cotangent
from gradcheck.diagnosis.gradient import gradient_mistake
from gradcheck.diagnosis.patterns import Diagnosis
from gradcheck.failures import Finding
from gradcheck.mistake import Mistake
from gradcheck.verdict import Outcome

__all__ = ["Diagnosis", "diagnose"]

# What a claim is about says what breaks it.
_OF_CODE = MappingProxyType(
    {
        "GC102": Mistake.FORWARD_RULE,
        "GC103": Mistake.COTANGENT,
        "GC104": Mistake.SECOND_ORDER,
        "GC105": Mistake.BATCHING_RULE,
        "GC106": Mistake.SECOND_ORDER,
        "GC107": Mistake.SPECIAL,
        "GC108": Mistake.SPECIAL,
        "GC109": Mistake.SECOND_ORDER,
        "GC201": Mistake.MUTATION,
        "GC202": Mistake.STATE,
        "GC203": Mistake.MUTATION,
        "GC301": Mistake.LAYOUT,
        "GC401": Mistake.RANDOM,
        "GC402": Mistake.MODE,
        "GC403": Mistake.MODE,
        "GC601": Mistake.STATE,
        "GC602": Mistake.STATE,
        "GC603": Mistake.SUBSET,
        "GC604": Mistake.OUTPUT,
        "GC605": Mistake.RANDOM,
        "GC701": Mistake.PRECISION,
        "GC702": Mistake.PRECISION,
    }
)
# Of several that fail, these are the cause and the others follow: what changes by itself or what it is given, first.
_CAUSES = ("GC605", "GC203")
# These are the cause where a gradient is right otherwise.
_AROUND = ("GC602", "GC601", "GC301", "GC701", "GC603", "GC604")
# A later pass over a graph that differs from the first one.
_LATER = "later backward"


def diagnose(
    subject: Subject, outcome: Outcome, *, others: Iterable[Finding] = (), first: Subject | None = None
) -> Diagnosis:
    """The usual mistake that a disagreement looks like, the simplest first.

    Parameters
    ----------
    subject : Subject
        Where the claim fails.
    outcome : Outcome
        The disagreement.
    others : iterable of Finding
        What else fails: several claims may fail for one cause.
    first : Subject or None
        A point where the claim holds.

    Returns
    -------
    Diagnosis
        Without a mistake where nothing usual fits. Never raises, whatever the function does beside its point.
    """
    finding = outcome.finding
    if finding is None:
        return Diagnosis()
    try:
        return _diagnosed(subject, finding, {other.code: other for other in others}, first)
    except Exception:  # whatever a user's function raises beside its point
        return Diagnosis(_OF_CODE.get(finding.code))


def _diagnosed(subject: Subject, finding: Finding, others: dict[str, Finding], first: Subject | None) -> Diagnosis:
    known = {finding.code: finding} | others
    for code in _CAUSES:
        if code in known:
            return Diagnosis(_plain(known[code]))
    if finding.code == "GC103":
        return _of_cotangent(subject, finding)
    if finding.code != "GC101":
        return Diagnosis(_plain(finding))
    found = gradient_mistake(subject, finding, first)
    if found.mistake in (None, Mistake.TERM, Mistake.LAYOUT, Mistake.STATE):
        around = next((code for code in _AROUND if code in known), None)
        if around is not None and found.mistake is not Mistake.TERM:
            return replace(found, mistake=_plain(known[around]))
        if "GC103" in known:
            return replace(found, mistake=Mistake.COTANGENT)
        if around is not None and found.text == "":
            return replace(found, mistake=_plain(known[around]))
    return found


def _plain(finding: Finding) -> Mistake | None:
    """The mistake that the code of a claim says, and what of the claim fails."""
    way = "" if finding.evidence is None else finding.evidence.way
    if finding.code == "GC605" and _LATER in f"{way} {finding.detail}":
        return Mistake.STATE
    if way == "raised" and finding.code in ("GC103", "GC701", "GC702"):
        return Mistake.FORM
    return _OF_CODE.get(finding.code)


def _of_cotangent(subject: Subject, finding: Finding) -> Diagnosis:
    """In which way a backward is not linear."""
    found = cotangent(Case(subject, finding))
    return found or Diagnosis(Mistake.COTANGENT)
