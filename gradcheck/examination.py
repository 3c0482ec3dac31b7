"""Check one function or one module of a user's: from tensors to a subject, from outcomes to a report."""

from __future__ import annotations

import inspect
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.arguments import as_subject, find_engine
from gradcheck.beside import is_only_here
from gradcheck.checks import default_claims
from gradcheck.checks.batching import why_not_broadcast
from gradcheck.checks.claim import Claim, Claims, Subject, disagreement
from gradcheck.checks.determinism import PASSES_REPEAT, not_repeating
from gradcheck.checks.higher_order import in_words
from gradcheck.checks.kinks import is_one_rule
from gradcheck.checks.layout import LAYOUT_DOES_NOT_MATTER
from gradcheck.checks.modes import private
from gradcheck.checks.passes import place, run, values
from gradcheck.diagnose import diagnose
from gradcheck.engines.base import Capability, Engine
from gradcheck.failures import Finding, GradcheckFailure, Unsupported, UsageError, named
from gradcheck.jacobian import MODES, shown_around
from gradcheck.minimal import minimal
from gradcheck.report.result import Report
from gradcheck.verdict import Outcome, Verdict

Wanted = str | Claim | Sequence[str | Claim] | None

# A function may do without these: what it refuses there is no failure, and what stays open does not decide.
_OPTIONAL = frozenset({Capability.FORWARD_MODE, Capability.HIGHER_ORDER, Capability.VMAP})


# Where one of these has seen nothing but zeros, nothing was tested.
_DECISIVE = ("vjp_matches_numeric", "backward_is_linear_in_cotangent", "gradients_are_right_in_both_modes")


def check(
    function: Callable[..., Any],
    *inputs: Any,
    claims: Wanted = None,
    rtol: float = 1e-6,
    nondet_tol: float = 0.0,
    mode: str = "directions",
    batched: bool = False,
    engine: str | Engine | None = None,
    seed: int = 0,
) -> Report:
    """Check the derivatives of one function at one point.

    The inputs that require grad are differentiated, else all floating ones, in float64. The caller's tensors, their
    ``.grad``, grad mode and random state are left as they are; every evaluation sees the same random numbers.

    Parameters
    ----------
    function : callable
        Takes `inputs`, returns a tensor or a tuple, list or dict of them; what is not floating is left out.
        ``MyFunction.apply``, a lambda, a function with tensors of its own in float64.
    *inputs
        Its arguments: tensors of a registered engine, also inside lists, tuples and dicts. All else is passed on.
    claims : str, Claim or sequence of them, optional
        Names or codes of the claims to check; all claims about functions that the engine is capable of by default.
    rtol : float
        The relative error of the derivative that must still be seen.
    nondet_tol : float
        How far repeated passes may differ, relative to an array's largest entry.
    mode : "directions" or "full"
        Whether the gradient is compared along random directions, which miss no entry that is wrong by `rtol` of the
        largest, or all entries of the Jacobian one by one as well.
    batched : bool
        `function` broadcasts: it takes inputs that all have one more axis before their own, and gives outputs with it.
        Many points are then evaluated in one call, in chunks of bounded memory, as they are by ``vmap`` where an engine
        has it. Tried on a sample first.
    engine : str or Engine, optional
        By default the engine whose tensors the inputs are.
    seed : int
        Decides the random directions and the random numbers that `function` sees.

    Returns
    -------
    Report

    Raises
    ------
    UsageError
        If there is no tensor, or no floating one; if a claim or the engine is unknown; if `function` is said to be
        `batched` and is not.

    Notes
    -----
    A function without a forward-mode rule, or one that refuses to be differentiated twice, is not wrong: the report
    lists the claim as unsupported. A second derivative that is silently wrong is a warning, unless that claim was
    asked for by name. Any exception of `function` itself at the given point is raised to the caller.

    Examples
    --------
    >>> import gradcheck, refengine
    >>> report = gradcheck.check(lambda x: x * x, refengine.tensor([0.0, 1.0, -2.0]))
    >>> report.ok
    True
    """
    adapter = find_engine(inputs, engine)
    chosen = _in_mode(mode, _chosen(claims, default_claims(), ("function",)))
    name = call_name(function)
    with surroundings_kept(adapter, seed):
        subject = as_subject(function, inputs, adapter, rtol=rtol, seed=seed, name=name)
        subject = replace(subject, where=_first_run(subject, function), nondet_tol=nondet_tol)
        subject = replace(subject, is_rule=is_one_rule(function), broadcasts=batched)
        _refuse_false_declaration(subject)
        other = as_subject(function, inputs, adapter, rtol=rtol, seed=seed + 1, name=name)
        start = time.monotonic()
        outcomes, unsupported = _outcomes(chosen, subject, other.function)
        outcomes = _first_made_small(outcomes, subject, time.monotonic() - start)
        again = f"gradcheck.check({', '.join([name, between_parentheses(subject.label)])}"
        return _report(
            subject, outcomes, unsupported, _named(claims), f"{again}, claims={{}}{_word(mode)}, seed={seed})"
        )


def assert_check(
    function: Callable[..., Any],
    *inputs: Any,
    claims: Wanted = None,
    rtol: float = 1e-6,
    nondet_tol: float = 0.0,
    mode: str = "directions",
    batched: bool = False,
    engine: str | Engine | None = None,
    seed: int = 0,
) -> Report:
    """Demand that `check` agrees.

    Parameters
    ----------
    function, *inputs, claims, rtol, nondet_tol, mode, batched, engine, seed
        As in `check`.

    Returns
    -------
    Report
        One whose verdict is "agree".

    Raises
    ------
    GradcheckFailure
        If the verdict is "disagree", or "inconclusive": a point where nothing can be judged shows nothing. It carries
        the report.
    """
    __tracebackhide__ = True
    report = check(
        function, *inputs, claims=claims, rtol=rtol, nondet_tol=nondet_tol, mode=mode, batched=batched, engine=engine,
        seed=seed,
    )  # fmt: skip
    if not report.ok:
        raise GradcheckFailure(report)
    return report


def check_module(
    module: Any,
    *inputs: Any,
    claims: Wanted = None,
    rtol: float = 1e-6,
    nondet_tol: float = 0.0,
    mode: str = "directions",
    engine: str | Engine | None = None,
    seed: int = 0,
) -> Report:
    """Check a module: what it does in eval mode, and its gradients, for inputs and parameters, in both modes.

    It runs on a deep copy in float64; `module`, its buffers and its mode are left as they are. Claims about functions
    are checked too, in the mode that `module` is in, for the inputs alone.

    Parameters
    ----------
    module : module
        Of the engine of `inputs`.
    *inputs, claims, rtol, nondet_tol, mode, engine, seed
        As in `check`.

    Returns
    -------
    Report

    Raises
    ------
    UsageError
        As `check` does.
    """
    adapter = find_engine(inputs, engine)
    chosen = _in_mode(mode, _chosen(claims, default_claims(), ("function", "module")))
    with surroundings_kept(adapter, seed):
        copied = adapter.copied(module)
        subject = as_subject(
            copied,
            inputs,
            adapter,
            rtol=rtol,
            seed=seed,
            name=type(module).__name__,
            needs_floating=False,
            replays=False,
        )
        subject = replace(subject, module=copied, where=_first_run(subject, copied), nondet_tol=nondet_tol)
        outcomes, unsupported = _outcomes([c for c in chosen if c.kind == "module"], subject)
        if any(subject.differentiable):
            with private(subject, training=bool(copied.training)) as put:
                whole = replace(subject, function=_from_same_state(subject, put, seed))
                other = _from_same_state(subject, put, seed + 1)
                more, refused = _outcomes([c for c in chosen if c.kind == "function"], whole, other)
            outcomes, unsupported = outcomes | more, unsupported | refused
        again = f"gradcheck.check_module(module, {between_parentheses(subject.label)}"
        text = f"{again}, claims={{}}{_word(mode)}, seed={seed})"
        return _report(subject, outcomes, unsupported, _named(claims), text)


def _from_same_state(subject: Subject, put: Callable[[Mapping[str, Any]], None], seed: int) -> Callable[..., Any]:
    """The module from the same buffers and the same random state at each call."""

    def function(*tensors: Any) -> Any:
        put({})
        subject.engine.seed(seed)
        return subject.function(*tensors)

    return function


def _chosen(wanted: Wanted, known: Claims, kinds: tuple[str, ...]) -> tuple[Claim, ...]:
    """The claims asked for, or all of these kinds."""
    if wanted is None:
        return tuple(claim for claim in known.all(kinds) if claim.by_default)
    asked = [wanted] if isinstance(wanted, (str, Claim)) else list(wanted)
    found = tuple(claim if isinstance(claim, Claim) else known.get(claim) for claim in asked)
    for claim in found:
        if claim.kind not in kinds:
            remedy = "use check_module" if claim.kind == "module" else "run the property suite"
            raise UsageError(f"claims: {claim.name} is about a {claim.kind}, not a {kinds[0]}; {remedy}")
    return found


def _in_mode(mode: str, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """The claims, the one about gradients as this mode looks at them."""
    if mode not in MODES:
        raise UsageError(f"mode: expected {' or '.join(map(repr, MODES))}, got {mode!r}")
    gradient = default_claims().get("GC101")
    return tuple(replace(claim, check=MODES[mode]) if claim == gradient else claim for claim in claims)


def _word(mode: str) -> str:
    """The argument, where it is not the default."""
    return "" if mode == "directions" else f", mode={mode!r}"


def _named(wanted: Wanted) -> bool:
    return wanted is not None


@contextmanager
def surroundings_kept(engine: Engine, seed: int) -> Iterator[None]:
    """The engine's random state seeded inside; grad mode and every random state as before afterwards."""
    plain, legacy = random.getstate(), np.random.get_state()
    try:
        with engine.sandbox(seed):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(legacy)


def _first_run(subject: Subject, function: Callable[..., Any]) -> str | None:
    """Run once, so that the function's own exceptions reach the caller; returns where its backward stands."""
    try:
        outputs = run(subject, place(subject, subject.inputs))
    except Exception as error:
        error.add_note(f"gradcheck: raised by {subject.label}, called with float64 copies of the inputs")
        raise
    return subject.engine.locate_backward(function, outputs)


def _outcomes(
    claims: Sequence[Claim], subject: Subject, other: Callable[..., Any] | None = None
) -> tuple[dict[Claim, Outcome], dict[Claim, str]]:
    """What each claim says, and why the others could not be asked.

    `other` is the subject's function with other random numbers. Where passes do not repeat, nothing else is judged.
    """
    outcomes: dict[Claim, Outcome] = {}
    unsupported: dict[Claim, str] = {}
    changing = ""
    for claim in sorted(claims, key=lambda claim: claim is not PASSES_REPEAT):
        if changing:
            outcomes[claim] = Outcome(Verdict.INCONCLUSIVE, changing)
            continue
        try:
            outcomes[claim] = outcome_of(claim, subject, other)
        except Unsupported as refusal:
            unsupported[claim] = str(refusal)
        else:
            changing = not_repeating(outcomes[claim])
    return {claim: outcomes[claim] for claim in claims if claim in outcomes}, unsupported


def outcome_of(claim: Claim, subject: Subject, other: Callable[..., Any] | None = None) -> Outcome:
    """What one claim says of a user's function; whatever that raises where it should not is a disagreement.

    Parameters
    ----------
    claim : Claim
    subject : Subject
    other : callable or None
        The subject's function with other random numbers.

    Raises
    ------
    Unsupported
        If the engine or the function refuses what the claim needs.
    """
    _refuse_what_cannot_be_asked(claim, subject, other)
    try:
        return claim.check(subject)
    except Unsupported:
        raise
    except Exception as error:  # whatever the user's function raises
        text = named(error)
        if claim.needs & _OPTIONAL:
            raise Unsupported(f"refused with {text}") from error
        return disagreement(claim, subject, detail=f"raised {text}", way="raised")


def _first_made_small(outcomes: dict[Claim, Outcome], subject: Subject, seconds: float) -> dict[Claim, Outcome]:
    """The first disagreement on as small a call as can be found in the time that the whole check took."""
    failed = {claim: outcome for claim, outcome in outcomes.items() if outcome.finding is not None}
    if not failed:
        return outcomes
    claim, *_ = failed
    others = [outcome.finding for outcome in failed.values() if outcome.finding is not None]
    return outcomes | {claim: made_small(claim, failed[claim], subject, max(1.0, seconds), others=others)}


def made_small(
    claim: Claim,
    outcome: Outcome,
    subject: Subject,
    seconds: float,
    *,
    others: Sequence[Finding] = (),
    first: Subject | None = None,
) -> Outcome:
    """A disagreement on as small a call as can be found in so many seconds, with what is known of its cause.

    `others` are what else fails; `first` is a point where the claim holds.
    """
    is_whole = claim.check is MODES["full"]
    smaller, shown = (subject, outcome) if is_whole else minimal(subject, claim, outcome, seconds=seconds)
    found = shown.finding or outcome.finding
    if found is None:
        return outcome
    # At the point given: a small one shows no pattern.
    diagnosis = diagnose(subject, outcome, others=others, first=first)
    cause = diagnosis.text
    if smaller is not subject and ": " not in cause and _is_another_factor(cause, found):
        cause += " at the input given"
    notes = [cause, found.detail]
    if smaller is not subject:
        notes.append(f"made small from {', '.join(f'x{k} {x.shape}' for k, x in enumerate(subject.inputs))}")
    detail = "; ".join(note for note in notes if note)
    block = found.block or _block(smaller, found)
    if not block and smaller is not subject and outcome.finding is not None:
        block = _block(subject, outcome.finding).replace("outputs", "at the input given: outputs", 1)
    extent = diagnosis.extent + (" (at the input given)" if smaller is not subject and diagnosis.extent else "")
    only_here = is_only_here(claim, smaller, found, seconds)
    found = replace(found, detail=detail, mistake=diagnosis.mistake, block=block, extent=extent, only_here=only_here)
    return replace(shown, finding=found)


def _block(subject: Subject, finding: Finding) -> str:
    """The Jacobian around a wrong entry of a gradient."""
    evidence = finding.evidence
    if finding.code != "GC101" or evidence is None or evidence.position is None or finding.entry is None:
        return ""
    try:
        return shown_around(subject, evidence.position, finding.entry)
    except Exception:  # whatever a user's function raises beside its point
        return ""


def _is_another_factor(cause: str, finding: Finding) -> bool:
    """Whether the factor found at the input given is not that of the smaller one: it depends on the size, then."""
    factor = re.search(r"is (\S+) times the right one", cause)
    if factor is None or not isinstance(finding.analytic, float) or not isinstance(finding.numeric, float):
        return False
    expected = float(factor[1]) * finding.numeric
    return abs(finding.analytic - expected) > 1e-2 * abs(expected)


def _refuse_false_declaration(subject: Subject) -> None:
    problem = why_not_broadcast(subject) if subject.broadcasts else ""
    if problem:
        expected = "expected a function that broadcasts over one more leading axis of all inputs"
        raise UsageError(f"batched: {expected}, got one of which {problem}; leave it out")


def _refuse_what_cannot_be_asked(claim: Claim, subject: Subject, other: Callable[..., Any] | None) -> None:
    missing = claim.needs - subject.engine.capabilities
    if missing:
        raise Unsupported(f"{subject.engine.name} has no {', '.join(sorted(missing))}")
    if claim is LAYOUT_DOES_NOT_MATTER and other is not None:
        first, second = values(subject, subject.inputs), values(replace(subject, function=other), subject.inputs)
        if any(a.tobytes() != b.tobytes() for a, b in zip(first, second, strict=True)):
            raise Unsupported("the function draws random numbers, which fill memory in the order of its layout")


def _report(
    subject: Subject,
    outcomes: Mapping[Claim, Outcome],
    unsupported: Mapping[Claim, str],
    named: bool,
    again: str,
) -> Report:
    """Sort the outcomes into what decides and what should only be known."""
    failures: list[Finding] = []
    undecided: list[str] = []
    warnings: list[str] = []
    for claim, outcome in outcomes.items():
        optional = bool(claim.needs & _OPTIONAL) and not named
        if outcome.finding is not None and optional and Capability.HIGHER_ORDER in claim.needs:
            warnings.append(f"{claim.code} {claim.name}: {in_words(claim)}, and nothing raises; {_hint(outcome)}")
        elif outcome.finding is not None:
            failures.append(replace(outcome.finding, replay=again.format(f"[{claim.code!r}]")))
        elif outcome.verdict is Verdict.INCONCLUSIVE:
            (warnings if optional else undecided).append(f"{claim.code} {claim.name}: {outcome.reason}")
    if not failures and any(outcome.vacuous for claim, outcome in outcomes.items() if claim.name in _DECISIVE):
        undecided.append("the derivative is zero everywhere here, so nothing was tested; choose another point")
    verdict = Verdict.DISAGREE if failures else Verdict.INCONCLUSIVE if undecided else Verdict.AGREE
    return Report(
        call=subject.label,
        engine=f"{subject.engine.name}-{subject.engine.device}",
        verdict=verdict,
        outcomes={claim.name: outcome for claim, outcome in outcomes.items()},
        failures=tuple(failures),
        inconclusive=tuple(undecided),
        unsupported=tuple(f"{claim.code} {claim.name}: {reason}" for claim, reason in unsupported.items()),
        warnings=tuple(warnings),
    )


def _hint(outcome: Outcome) -> str:
    finding = outcome.finding
    if finding is None or finding.analytic is None or finding.numeric is None:
        return "decorate its backward with once_differentiable, or compute it from tensors"
    return (
        f"{finding.analytic:.6g} instead of {finding.numeric:.6g}; "
        "decorate its backward with once_differentiable, or compute it from tensors"
    )


def call_name(function: Callable[..., Any]) -> str:
    """``RowMax.apply``, ``softplus``, ``<lambda>``: as a reader would write it. A class stands for its ``apply``."""
    owner = getattr(function, "__self__", None)
    if inspect.isclass(function):
        return f"{function.__name__}.apply"
    if inspect.isclass(owner):
        return f"{owner.__name__}.{function.__name__}"
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def between_parentheses(label: str) -> str:
    """The arguments as they stand in a format string."""
    return label[label.index("(") + 1 : -1].replace("{", "{{").replace("}", "}}")
