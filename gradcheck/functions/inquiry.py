"""Ask one function every claim at its input, then about its gradient at drawn variations of it; keep what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradcheck.arguments import leaves
from gradcheck.checks import default_claims
from gradcheck.checks.claim import Claim, Subject
from gradcheck.checks.determinism import not_repeating
from gradcheck.checks.higher_order import in_words
from gradcheck.checks.inplace import SAME_VALUES
from gradcheck.checks.kinks import has_special
from gradcheck.checks.passes import place, run
from gradcheck.checks.precision import measured_noise
from gradcheck.engines.base import Capability
from gradcheck.examination import made_small, outcome_of
from gradcheck.failures import Finding, Unsupported, said
from gradcheck.functions.deliberate import Deliberate, Kind, deliberate
from gradcheck.functions.domain import kept_on
from gradcheck.functions.point import Point, TooSlow
from gradcheck.functions.portion import ignores_growth
from gradcheck.functions.suggestion import suggestion
from gradcheck.functions.variation import NO_AXES, variations
from gradcheck.functions.wishes import Interval, Meter, Wishes
from gradcheck.observation.call import Seen
from gradcheck.verdict import Outcome, Verdict

GRADIENT, FORWARD, LINEAR, SECOND, UNTOUCHED, PRECISION = "GC101", "GC102", "GC103", "GC104", "GC203", "GC701"
MIXED, THIRD = "GC106", "GC109"
REPEAT, KINKS = "GC605", "GC107"
# These are looked at whatever they cost, the others in this order while the allowance lasts.
ALWAYS = (GRADIENT, LINEAR, UNTOUCHED)
ORDER = (*ALWAYS, KINKS, "GC301", "GC603", "GC604", "GC601", "GC602", FORWARD, SECOND, MIXED, THIRD)
# These move the inputs, which must stay on the set that was seen; the others are asked without a projection before the
# Function, which would hide what it does to its inputs.
ON_SET = frozenset({FORWARD, SECOND, MIXED, THIRD, KINKS, "GC602", PRECISION})
# Of a gradient that is another one on purpose, these say nothing.
ABOUT_DERIVATIVES = frozenset({GRADIENT, FORWARD, SECOND, MIXED, THIRD, KINKS})
# At one input they say nothing of another one.
ANEW = frozenset({KINKS})
# Nor need it be linear in the cotangent: clipping is not.
NOT_LINEAR = frozenset({Kind.IDENTITY, Kind.CLAMP})
# Seconds in which a failing call is made small, whatever is left of the allowance.
_SMALLER = 1.0
# How it is told what was drawn, where values that were distinct are equal.
_TIES = "ties"


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """A claim that does not hold.

    Attributes
    ----------
    claim : Claim
    outcome : Outcome
        The disagreement.
    subject : Subject
        What it was asked of.
    prepare : mapping of int to str
        Projections of inputs onto the set seen, as source text.
    drawn : str
        What was drawn; "" for the input that was seen.
    """

    claim: Claim
    outcome: Outcome
    subject: Subject
    prepare: Mapping[int, str]
    drawn: str = ""

    @property
    def finding(self) -> Finding:
        """What the disagreement shows."""
        assert self.outcome.finding is not None  # it is a disagreement
        return self.outcome.finding


@dataclass(slots=True, eq=False)
class Examination:
    """One function being judged, and what was found so far.

    Attributes
    ----------
    seen, point, meter, wishes, seed
        What is judged, and how.
    failures : list of Failure
        The claims that do not hold, in the order they were asked.
    excuse : str
        Why the gradient is not the derivative on purpose.
    outcomes : dict of Claim to Outcome
        Of each claim, where it first bore on something, or where it does not hold.
    unsupported : dict of Claim to str
        Why the function refuses what a claim needs.
    notes, reasons : lists of str
        What else a reader should know, and why inputs were inconclusive.
    cut : list of str
        What the allowance did not pay for.
    tried, agreed : int
        Inputs at which the gradient was looked at, and there was one to see.
    doubts : list of str
        Why it was inconclusive at some of them, a reason for each.
    is_blind : bool
        Nothing was seen of it at the input that was given.
    resolution : float
        The relative size of an error that would still have been seen.
    """

    seen: Seen
    point: Point
    meter: Meter
    wishes: Wishes
    seed: int
    failures: list[Failure] = field(default_factory=list)
    outcomes: dict[Claim, Outcome] = field(default_factory=dict)
    unsupported: dict[Claim, str] = field(default_factory=dict)
    excuse: str = ""
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    tried: int = 0
    agreed: int = 0
    doubts: list[str] = field(default_factory=list)
    is_blind: bool = False
    resolution: float = 0.0
    _is_linear: bool = True

    def run(self) -> None:
        """Ask everything, while the allowance lasts."""
        self.notes += self.point.notes
        if self.wishes.surrogate and not self.wishes.strict:
            self.excuse = f"declared: {self.wishes.surrogate}"
        claims = self._claims()
        self._precision(claims)
        if self.point.part is not None:
            self._note("large: most claims were asked at a part of the input")
        if self._repeats(claims):
            self._ask(claims)
        self.failures.sort(key=lambda failure: claims.index(failure.claim))
        if self.failures:
            self.failures[0] = self._made_small(self.failures[0])

    @property
    def refusals(self) -> list[str]:
        """What the function refuses, as notes; of most claims that is all there is to say."""
        pairs = self.unsupported.items()
        return [f"{c.code} unsupported" + (f": {why}" if c.code in ALWAYS else "") for c, why in pairs]

    def _repeats(self, claims: Sequence[Claim]) -> bool:
        """Whether the same passes give the same numbers; where they do not, nothing else can be judged."""
        claim = _with_code(claims, REPEAT)
        if claim is not None:
            self._asked(claim, self._subject)
        return not any(not_repeating(failure.outcome) for failure in self.failures)

    def _ask(self, claims: Sequence[Claim]) -> None:
        """Every claim at the first input, then what is open at drawn ones."""
        open_claims = [claim for claim in claims if not self._at_first(claim) or claim.code in ANEW]
        self.is_blind = not (self.agreed or self.failures or self.excuse)
        if self.point.part is not None and not (self.failures or self.excuse):
            self._asked(claims[0], replace(self.point.subject, is_summed=True))
        if not self.failures:
            self._draw(claims[0], open_claims)

    def _made_small(self, failure: Failure) -> Failure:
        """The failure on as small a call as can be found, and what its author may want to hear."""
        claim, subject = failure.claim, failure.subject
        advice = self._advice(failure) if claim.code == GRADIENT else ""
        others = [other.finding for other in self.failures]
        first = self._subject if failure.drawn else None
        seconds = max(_SMALLER, self.meter.left())
        small = made_small(claim, failure.outcome, subject, seconds, others=others, first=first)
        if advice and small.finding is not None:
            small = replace(small, finding=replace(small.finding, detail=f"{small.finding.detail}; {advice}"))
        return replace(failure, outcome=small)

    def _advice(self, failure: Failure) -> str:
        if self.point.marked:
            which = " and ".join(f"output {k}" for k in self.point.marked)
            return f"backward has the right gradient of {which}, which forward marks as not differentiable"
        if not isinstance(self.seen.call.function, type):
            return ""  # what could be declared in a class body
        try:
            return suggestion(failure.subject, failure.outcome)
        except Exception:  # whatever a user's function raises away from its point
            return ""

    def _claims(self) -> list[Claim]:
        """Those about functions, in the order in which they are asked."""
        asked = {*self.wishes.claims}
        every = default_claims().all(("function",))
        known = {claim.code: claim for claim in every if claim.by_default or asked & {claim.code, claim.name}}
        codes = [code for code in ORDER if code in known]
        return [known[code] for code in (*codes, *(code for code in known if code not in codes))]

    def _precision(self, claims: Sequence[Claim]) -> None:
        """Ask for the precision first where float64 came in: what is computed in less has its noise in every claim."""
        claim = _with_code(claims, PRECISION)
        if claim is None or not self._came_in_double():
            return
        self._asked(claim, self._subject)
        if self.failures:
            noise = max(self._subject.noise, measured_noise(self._subject))
            part = self.point.part and replace(self.point.part, noise=noise)
            self.point = replace(self.point, subject=replace(self.point.subject, noise=noise), part=part)

    def _at_first(self, claim: Claim) -> bool:
        """Ask a claim at the input that was seen; whether that settled it."""
        if self.excuse and (claim.code in ABOUT_DERIVATIVES or (claim.code == LINEAR and not self._is_linear)):
            return True
        if claim.code in (PRECISION, REPEAT):
            return True
        if claim.code not in ALWAYS and self.meter.is_spent:
            self.cut.append(claim.code)
            return True
        return self._asked(claim, self._subject)

    @property
    def _subject(self) -> Subject:
        """What the claims are asked of first: the input that was seen, or the part of it."""
        return self.point.part or self.point.subject

    def _came_in_double(self) -> bool:
        """Whether the user works in float64: else less inside is what was asked for."""
        engine = self.point.subject.engine
        tensors = [x for x in leaves(self.seen.call.arguments) if engine.is_tensor(x) and engine.kind(x) in "fc"]
        if self.point.is_own:
            return False
        return all(engine.array(x).dtype in (np.float64, np.complex128) for x in tensors)

    # One claim -------------------------------------------------------------------------------------------------

    def _asked(self, claim: Claim, subject: Subject, drawn: str = "") -> bool:
        """Ask a claim; whether that settled it: nothing did where nothing was there to be wrong."""
        prepare: Mapping[int, str] = {}
        try:
            if claim.code == GRADIENT:
                subject, prepare, outcome = self._gradient(claim, subject)
            else:
                kept = kept_on(subject, self.seen.facts) if claim.code in ON_SET else None
                subject, prepare = kept or (subject, prepare)
                outcome = outcome_of(claim, subject, self.point.others[0])
        except TooSlow as refusal:
            self.cut.append(claim.code)
            self.reasons.append(said(refusal))
            return True
        except Unsupported as refusal:
            self.unsupported.setdefault(claim, said(refusal))
            return True
        known = self.outcomes.get(claim)
        if known is None or known.vacuous or outcome.finding is not None:
            self.outcomes[claim] = outcome
        if outcome.finding is not None:
            self._failed(claim, outcome, subject, prepare, drawn)
        elif outcome.verdict is Verdict.INCONCLUSIVE and claim.code != GRADIENT:
            if not (drawn and claim.code in ANEW):
                self._note(f"{claim.code} inconclusive: {outcome.reason}")
            return False
        elif outcome.verdict is Verdict.INCONCLUSIVE and not self.agreed and self._is_excused(subject, outcome):
            # Where the gradient agreed elsewhere, a staircase at one size is that size's: signs, of a single value.
            self.doubts.remove(outcome.reason)
        return not outcome.vacuous

    def _gradient(self, claim: Claim, subject: Subject) -> tuple[Subject, Mapping[int, str], Outcome]:
        """Ask for the derivative, on the set seen too: what is wrong off it alone is no failure."""
        outcome = outcome_of(claim, subject, self.point.others[0])
        prepare: Mapping[int, str] = {}
        kept = None if outcome.verdict is Verdict.AGREE else kept_on(subject, self.seen.facts)
        if kept is not None:
            inside = outcome_of(claim, kept[0], self.point.others[0])
            if outcome.finding is not None and inside.finding is None:
                held = f"off the domain seen ({', '.join(kept[1].values())}) the gradient is another one"
                if not any(note.startswith(held) for note in self.notes):
                    self._note(f"{held}: {_numbers(outcome.finding)}")
            if outcome.finding is None or inside.finding is None:
                subject, prepare, outcome = kept[0], kept[1], inside
        self.tried += not outcome.vacuous
        if outcome.verdict is Verdict.INCONCLUSIVE:
            self.doubts.append(outcome.reason)
            self.reasons.append(outcome.reason)
        elif outcome.verdict is Verdict.AGREE and not outcome.vacuous:
            self.agreed += 1
            self.resolution = max(self.resolution, outcome.resolution)
        return subject, prepare, outcome

    def _failed(self, claim: Claim, outcome: Outcome, subject: Subject, prepare: Mapping[int, str], drawn: str) -> None:
        """A claim that does not hold: excused, a warning, or a failure on as small a call as can be found."""
        if claim.code == GRADIENT and self._is_excused(subject, outcome):
            return
        if claim.code == UNTOUCHED and self._is_harmless(outcome, subject):
            return
        if (drawn == NO_AXES or drawn.startswith(_TIES)) and outcome.finding is not None and _raised(outcome.finding):
            # Few were written for it: what a scalar becomes on its way through NumPy is no longer an array.
            where = "an input without axes" if drawn == NO_AXES else drawn
            self._note(f"warning: for {where}, {outcome.finding.detail}")
            return
        is_demanded = {claim.code, claim.name} & {*self.wishes.claims}
        is_used = self.seen.create_graph and claim.code == SECOND
        if Capability.HIGHER_ORDER in claim.needs and not (is_demanded or is_used):
            self._note(
                f"warning: {claim.code} {in_words(claim)} and nothing raises "
                f"({_numbers(outcome.finding)}); decorate backward with once_differentiable, or compute it from tensors"
            )
            return
        self.failures.append(Failure(claim, outcome, subject, prepare, drawn))

    def _is_harmless(self, outcome: Outcome, subject: Subject) -> bool:
        """Whether only a version moved, or forward wrote to what is not differentiated: running statistics, say."""
        finding = outcome.finding
        detail = "" if finding is None else finding.detail
        buffers = [f"x{k}" for k, is_moved in enumerate(subject.differentiable) if not is_moved]
        is_buffer = any(re.search(rf"^the forward pass modified .*\b{name}\b", detail) for name in buffers)
        if is_buffer or SAME_VALUES in detail:
            self._note(f"warning: {UNTOUCHED} {detail}")
        return is_buffer or SAME_VALUES in detail

    def _is_excused(self, subject: Subject, outcome: Outcome) -> bool:
        """Whether the mismatch declares itself, lies within the tolerance asked for, or cannot be told from chance."""
        found = self._explanation(subject, outcome)
        if found is None:
            return False
        if found.kind is Kind.RANDOM:
            self.doubts.append(found.reason)
            self.reasons.append(found.reason)
        elif found.kind is Kind.TOLERATED:
            self.agreed += 1
            self.resolution = max(self.resolution, self.wishes.rtol)
            self._note(found.reason)
        else:
            self.excuse = found.reason
            self._is_linear = found.kind not in NOT_LINEAR
        return True

    def _explanation(self, subject: Subject, outcome: Outcome) -> Deliberate | None:
        try:
            found = deliberate(subject, outcome, *self.point.others)
        except Exception:  # whatever a user's function raises away from its point
            return None
        is_meant = found is not None and found.kind not in (Kind.RANDOM, Kind.TOLERATED)
        return None if is_meant and self.wishes.strict else found

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # Drawn inputs ----------------------------------------------------------------------------------------------

    def _draw(self, gradient: Claim, open_claims: Sequence[Claim]) -> None:
        """The gradient at drawn inputs, and the claims that had nothing to bear on at the first; a failure ends it."""
        left = [claim for claim in open_claims if claim is not gradient]
        if self.excuse and not left:
            return
        for subject, drawn in self._drawn():
            if self.meter.is_spent:
                self.cut.append("further drawn inputs")
                return
            if not self.excuse:
                self._asked(gradient, subject, drawn)
            left = [claim for claim in left if self._is_open(claim, subject, drawn)]
            if self.failures or (self.excuse and not left):
                return

    def _is_open(self, claim: Claim, subject: Subject, drawn: str) -> bool:
        """Ask a claim at a drawn input; whether it should be asked at the next one too."""
        if self.excuse and claim.code in ABOUT_DERIVATIVES:
            return False
        if claim.code in ANEW and not has_special(subject):
            return True  # there is a kink by chance alone
        return bool(self.failures) or not self._asked(claim, subject, drawn) or claim.code in ANEW

    def _drawn(self) -> Iterator[tuple[Subject, str]]:
        """Subjects at drawn inputs for which forward gives finite values."""
        subject = self._subject
        arguments = list(leaves(self.seen.call.arguments))
        if any(subject.engine.kind(x) == "c" for x in arguments if subject.engine.is_tensor(x)):
            return
        sizes = {x for x in arguments if type(x) is int}
        drawn = variations(
            subject.inputs, self.seen.facts, subject.generator("variations"),
            differentiable=subject.differentiable, fixed_sizes=frozenset(sizes), domain=self._domain(),
            is_elementwise=_is_elementwise(subject),
        )  # fmt: skip
        for variation in drawn:
            made = replace(subject, inputs=variation.inputs)
            try:
                with subject.engine.no_grad():
                    outputs = run(made, place(made, made.inputs))
                    values = [subject.engine.array(y) for y in outputs]
                    fits = all(np.isfinite(y).all() for y in values) and not ignores_growth(subject, made, values)
                if fits:
                    yield made, variation.what
            except Exception:  # a forward that raises for a drawn input was not made for it
                continue

    def _domain(self) -> Interval | Mapping[int, Interval] | None:
        """Where drawn values may lie, by the numbers of tensors rather than arguments."""
        wished = self.wishes.domain
        if not isinstance(wished, Mapping):
            return wished
        engine = self.point.subject.engine
        first = 0
        found: dict[int, Interval] = {}
        for position, argument in enumerate(self.seen.call.arguments):
            count = sum(engine.is_tensor(x) for x in leaves(argument))
            if position in wished:
                found |= dict.fromkeys(range(first, first + count), wished[position])
            first += count
        return found


def _with_code(claims: Sequence[Claim], code: str) -> Claim | None:
    return next((claim for claim in claims if claim.code == code), None)


def _raised(finding: Finding) -> bool:
    return finding.evidence is not None and finding.evidence.way == "raised"


def _is_elementwise(subject: Subject) -> bool:
    """Whether all inputs and outputs have one shape, with axes."""
    try:
        with subject.engine.no_grad():
            shapes = {subject.engine.array(y).shape for y in run(subject, place(subject, subject.inputs))}
    except Exception:  # whatever a user's forward raises the second time
        return False
    shapes |= {x.shape for x in subject.inputs}
    return len(shapes) == 1 and shapes != {()}


def _numbers(finding: Finding | None) -> str:
    if finding is None or finding.analytic is None or finding.numeric is None:
        return finding.detail if finding is not None else ""
    return f"{finding.analytic:.6g} instead of {finding.numeric:.6g}"
