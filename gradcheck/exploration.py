"""Explore one function from one call: every claim at the inputs given, then its gradient at drawn variations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradcheck.arguments import find_engine
from gradcheck.checks import default_claims
from gradcheck.checks.claim import Claim
from gradcheck.engines.base import Engine
from gradcheck.examination import between_parentheses, call_name, surroundings_kept
from gradcheck.failures import Finding, GradcheckFailure, UsageError
from gradcheck.functions.examine import examined
from gradcheck.functions.inquiry import GRADIENT, Examination, Failure
from gradcheck.functions.point import NotCallable, OutsideDomain
from gradcheck.functions.wishes import Allowance, Interval, Meter, Wishes
from gradcheck.functions.writing import status_of
from gradcheck.observation.call import Call, Seen
from gradcheck.observation.facts import facts_of
from gradcheck.observation.snapshot import copied, device_among, signature_of, tensors_in
from gradcheck.report.function import Status
from gradcheck.report.result import Report
from gradcheck.verdict import Outcome, Verdict

_VERDICTS = {Status.DISAGREED: Verdict.DISAGREE, Status.AGREED: Verdict.AGREE}

Domain = Interval | Mapping[int, Interval] | None


def explore(
    function: Callable[..., Any],
    *inputs: Any,
    claims: Sequence[str] = (),
    rtol: float = 1e-6,
    nondet_tol: float = 0.0,
    domain: Domain = None,
    strict: bool = False,
    seconds: float | None = 60.0,
    engine: str | Engine | None = None,
    seed: int = 0,
) -> Report:
    """Check one function at the inputs given and at others like them: what ``pytest --gradcheck`` makes of one call.

    All claims about functions are asked at the inputs given. Then the gradient is looked at where nobody looked:
    other values, magnitudes, exact zeros, sizes and layouts, which keep what holds for the values given (signs,
    integers, sums to one, symmetry, ...). The caller's tensors, modules, ``.grad``, grad mode and random state are left
    as they are; every evaluation sees the same random numbers.

    Parameters
    ----------
    function : callable
        As in `check`.
    *inputs
        As in `check`. Copied, so that what the function does to them is seen and not kept.
    claims : sequence of str
        Names or codes of claims that must hold besides the usual ones: those of which nothing is demanded by default,
        GC104 say.
    rtol, nondet_tol
        As in `check`.
    domain : pair of floats, or mapping from an argument's position to such a pair, or None
        Where drawn values may lie; what the values given suggest by default.
    strict : bool
        A mismatch that the forward's own structure shows to be meant (rounding, gradient reversal, ...) is wrong too.
    seconds : float or None
        What the drawn inputs, and the claims that are not always asked, may take; None: as long as it takes. The inputs
        given may take four times as much.
    engine, seed
        As in `check`.

    Returns
    -------
    Report
        Its verdict is "disagree" if a claim does not hold somewhere, "agree" if the gradient was found right, else
        "inconclusive". The outcome of ``vjp_matches_numeric`` is that of all the inputs looked at, its resolution the
        coarsest.

    Raises
    ------
    UsageError
        If there is no tensor, or nothing to differentiate; if a claim or the engine is unknown.

    Notes
    -----
    An exception of `function` itself at the inputs given is raised to the caller. At a drawn input, it says that the
    function was not made for it.

    Examples
    --------
    >>> import gradcheck, refengine
    >>> report = gradcheck.explore(lambda x: x * x.sigmoid(), refengine.tensor([0.5, -1.5, 0.25]))
    >>> report.ok
    True
    """
    adapter = find_engine(inputs, engine)
    wanted = tuple(default_claims().get(name).code for name in ([claims] if isinstance(claims, str) else claims))
    wishes = Wishes(rtol=rtol, nondet_tol=nondet_tol, claims=wanted, domain=domain, strict=strict)
    call = _call(function, inputs, adapter, seed)
    try:
        with examined(
            _seen(call, adapter), adapter, Meter(Allowance(seconds=seconds)), wishes, seed=seed
        ) as examination:
            return _report(examination, f"gradcheck.explore({{}}, seed={seed})")
    except NotCallable as problem:
        raise _reason(problem) from problem


def assert_explore(
    function: Callable[..., Any],
    *inputs: Any,
    claims: Sequence[str] = (),
    rtol: float = 1e-6,
    nondet_tol: float = 0.0,
    domain: Domain = None,
    strict: bool = False,
    seconds: float | None = 60.0,
    engine: str | Engine | None = None,
    seed: int = 0,
) -> Report:
    """Demand that `explore` agrees.

    Parameters
    ----------
    function, *inputs, claims, rtol, nondet_tol, domain, strict, seconds, engine, seed
        As in `explore`.

    Returns
    -------
    Report
        One whose verdict is "agree".

    Raises
    ------
    GradcheckFailure
        If the verdict is "disagree" or "inconclusive". It carries the report.
    """
    __tracebackhide__ = True
    report = explore(
        function, *inputs, claims=claims, rtol=rtol, nondet_tol=nondet_tol, domain=domain, strict=strict,
        seconds=seconds, engine=engine, seed=seed,
    )  # fmt: skip
    if not report.ok:
        raise GradcheckFailure(report)
    return report


def _call(function: Callable[..., Any], inputs: tuple[Any, ...], engine: Engine, seed: int) -> Call:
    """The call as an observed one, from a random state that the seed decides."""
    with surroundings_kept(engine, seed), engine.evaluating():
        default_dtype = engine.default_dtype_name()
        with engine.aside():
            arguments = copied(inputs, engine)
        return Call(
            function=function,
            engine=engine.name,
            device=device_among(tensors_in(inputs, engine), engine),
            arguments=arguments,
            signature=signature_of(inputs, engine),
            random_state=engine.random_state(),
            default_dtype=default_dtype,
        )


def _seen(call: Call, engine: Engine) -> Seen:
    """The call with what holds for its values."""
    tensors = tensors_in(call.arguments, engine)
    with engine.aside():
        facts = tuple(facts_of(engine.array(x)) for x in tensors)
    return Seen(call, facts, tuple(engine.requires_grad(x) for x in tensors))


def _reason(problem: NotCallable) -> Exception:
    """The function's own exception at the inputs given, or what is wrong with them."""
    refusal = problem.__cause__
    own = refusal.__cause__ if isinstance(refusal, OutsideDomain) else None
    if isinstance(own, Exception):
        own.add_note("gradcheck: raised by the function, called with copies of the inputs")
        return own
    return UsageError(f"function: {problem}")


def _report(found: Examination, again: str) -> Report:
    """The report of an examination; `again` takes the call's arguments."""
    subject = found.point.subject
    call = ", ".join([call_name(found.seen.call.function), between_parentheses(subject.label)])
    findings = tuple(replace(_told(failure), replay=again.format(call)) for failure in found.failures)
    status, reason = status_of(found)
    open_ = _open(found)
    verdict = _VERDICTS.get(status, Verdict.INCONCLUSIVE)
    if verdict is Verdict.AGREE and open_:
        verdict = Verdict.INCONCLUSIVE
    gradient = default_claims().get(GRADIENT)
    undecided = (f"{GRADIENT} {gradient.name}: {reason}",) if reason else ()
    return Report(
        call=subject.label,
        engine=f"{subject.engine.name}-{subject.engine.device}",
        verdict=verdict,
        outcomes={claim.name: outcome for claim, outcome in _outcomes(found, gradient).items()},
        failures=findings,
        inconclusive=(*undecided, *open_),
        unsupported=tuple(f"{claim.code} {claim.name}: {why}" for claim, why in found.unsupported.items()),
        warnings=tuple(_notes(found)),
    )


def _told(failure: Failure) -> Finding:
    """The finding, which says where it does not show."""
    finding = failure.finding
    if not failure.drawn:
        return finding
    where = f"at drawn values only ({failure.drawn}), not at those given"
    return replace(finding, detail="; ".join(text for text in (where, finding.detail) if text))


def _open(found: Examination) -> list[str]:
    """The claims that were asked for by name, and that could not be judged."""
    known = {claim.code: outcome for claim, outcome in found.outcomes.items()}
    return [
        f"{code} {default_claims().get(code).name}: could not be judged"
        for code in found.wishes.claims
        if code not in known or known[code].verdict is Verdict.INCONCLUSIVE
    ]


def _outcomes(found: Examination, gradient: Claim) -> dict[Claim, Outcome]:
    """By claim; that of the gradient over all the inputs looked at."""
    outcomes = dict(found.outcomes)
    if found.agreed and outcomes[gradient].finding is None:
        outcomes[gradient] = Outcome(Verdict.AGREE, resolution=found.resolution)
    return dict(sorted(outcomes.items(), key=lambda pair: pair[0].code))


def _notes(found: Examination) -> list[str]:
    """What else should be known: how it was judged, warnings, what was cut."""
    cut = list(dict.fromkeys(found.cut))
    return [*found.notes, *([f"cut by seconds={found.meter.allowance.seconds:g}: {', '.join(cut)}"] if cut else [])]
