"""From what was observed to results: runs the checks within the budget, quietly, and never takes the run down."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradcheck.engines import registry
from gradcheck.examination import check
from gradcheck.failures import UsageError, named
from gradcheck.functions.examine import examine
from gradcheck.functions.isolation import Crash, isolated
from gradcheck.functions.wishes import Wishes
from gradcheck.observation.call import name_of
from gradcheck.observation.gradcheck_call import GradcheckCall
from gradcheck.observation.observer import Observed
from gradcheck.observation.snapshot import tensors_in
from gradcheck.plugin.options import SHARE, Budget, wishes_for
from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.result import Report, format_finding
from gradcheck.verdict import Verdict

CRASHED = ("GC903", "check_ends", "The check of a Function ends by itself, without a crash, an exit or a hang.")
# A hanging check is ended after so many times what a Function may spend, and never before so many seconds.
_PATIENCE = 5.0
_LEAST_SECONDS = 10.0
_MAX_LINES = 22
# What a full check counts for where evaluations are counted: about what one of a matrix takes.
_EVALUATIONS = 500


@dataclass(slots=True)
class Judge:
    """The checks of one process.

    Attributes
    ----------
    budget : Budget
    seed : int
    crashed : dict of str to str
        How the checks of a Function ended that are not tried again.
    """

    budget: Budget
    seed: int
    crashed: dict[str, str]

    def function(self, observed: Observed, asked: Mapping[str, Any]) -> FunctionResult:
        """Check one Function at one signature; `asked` is what markers ask for."""
        name = observed.name
        plain = FunctionResult(name, signature=observed.signature_text, status=Status.UNCHECKED)
        plain = replace(plain, where=_where(observed), engine=observed.engine)
        if observed.call is None:
            return replace(plain, reason=observed.reason)
        if name in self.crashed:
            return replace(plain, reason=f"an earlier check {self.crashed[name]}")
        allowance = self.budget.allowance(name)
        wishes = wishes_for(observed.function, asked, self.budget.options)
        work = lambda: examine(observed, seed=self.seed, allowance=allowance, wishes=wishes)  # noqa: E731
        return self._guarded(work, plain)

    def gradcheck_call(self, call: GradcheckCall, asked: Mapping[str, Any]) -> FunctionResult:
        """Check again in full what a test gave to the engine's own gradient check."""
        function = call.function
        name = _name(function)
        plain = FunctionResult(name, call.place, signature="torch.autograd.gradcheck", status=Status.UNCHECKED)
        if not self.budget.left(name):
            return replace(plain, reason="the budget was spent")
        given = {"rtol": Wishes().rtol, **{key: asked[key] for key in ("rtol", "nondet_tol") if key in asked}}
        claims = asked.get("claims", ())

        def work() -> FunctionResult:
            start = time.monotonic()
            try:
                report = check(function, *call.inputs, seed=self.seed, **given)
                if claims and not report.failures:
                    # Those that are optional by default have to hold where they are named.
                    report = check(function, *call.inputs, seed=self.seed, **given, claims=claims)
            except UsageError as error:
                return replace(plain, reason=str(error))
            return _result_of(report, replace(plain, seconds=time.monotonic() - start))

        return self._guarded(work, plain)

    def _guarded(self, work: Callable[[], FunctionResult], plain: FunctionResult) -> FunctionResult:
        """What `work` returns; whatever it raises is a result too."""
        start = time.monotonic()
        try:
            with quiet():
                result = self._run(work)
        except KeyboardInterrupt:
            raise
        except Crash as crash:
            result = self._crash(str(crash), plain)
        except BaseException as error:  # SystemExit, too: a user's backward may do what it likes
            reason = f"the check ended with {named(error)}"
            result = replace(plain, status=Status.INCONCLUSIVE, reason=reason, tried=1, undecided=1, doubts=(reason,))
        result = replace(result, seconds=result.seconds or time.monotonic() - start)
        self.budget.spend(result)
        return result

    def _run(self, work: Callable[[], FunctionResult]) -> FunctionResult:
        options = self.budget.options
        if not options.is_isolated:
            return work()
        found: FunctionResult = isolated(work, max(_LEAST_SECONDS, _PATIENCE * SHARE * options.seconds))
        return found

    def _crash(self, how: str, plain: FunctionResult) -> FunctionResult:
        self.crashed[plain.name] = how
        code, claim, sentence = CRASHED
        lines = (
            f"{code} {claim}: {sentence}",
            f"  where     {plain.where or plain.name}",
            f"  detail    the child process {how}",
            f"  call      {plain.name.partition(':')[2]}.apply({plain.signature})",
        )
        return replace(
            plain,
            status=Status.DISAGREED,
            code=code,
            claim=claim,
            failing=(f"{code} {claim}",),
            headline=f"{code} {plain.name}: the child process {how}",
            report="\n".join(lines),
            script_problem="the process ended before it could say what it did",
        )


def shows_nothing(result: FunctionResult) -> bool:
    """Whether a check saw nothing at the call that was made: another call of the same signature may show more."""
    if result.status in (Status.DELIBERATE, Status.DISAGREED):
        return False
    return result.is_blind or result.status is Status.INCONCLUSIVE


def size_of(observed: Observed) -> int:
    """The bytes of the tensors of a call that is kept."""
    if observed.call is None:
        return 0
    engine = registry.engine(observed.engine)
    return engine.extent(tensors_in(observed.call.arguments, engine))


def _where(observed: Observed) -> str:
    """Where the backward stands; "" where that cannot be known."""
    apply: Callable[..., Any] = getattr(observed.function, "apply", observed.function)
    return registry.engine(observed.engine).locate_backward(apply) or ""


def _name(function: Callable[..., Any]) -> str:
    """``pkg.ops:softplus``; the Function's name for its ``apply``, so that a baseline knows both by one."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and function.__name__ == "apply":
        return name_of(owner)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__ or type(owner).__module__}:{named.__qualname__}"


def _result_of(report: Report, plain: FunctionResult) -> FunctionResult:
    """The report of a full check as the result of a Function."""
    notes = (*(f"{text.partition(' ')[0]} unsupported" for text in report.unsupported), *report.warnings)
    resolution = max((outcome.resolution for outcome in report.outcomes.values()), default=0.0)
    found = replace(plain, engine=report.engine, tried=1, evaluations=_EVALUATIONS, resolution=resolution, notes=notes)
    if report.verdict is Verdict.AGREE:
        return replace(found, status=Status.AGREED)
    if report.verdict is Verdict.INCONCLUSIVE:
        doubt = report.inconclusive[0].partition(": ")[2] or report.inconclusive[0]
        reason = "; ".join(report.inconclusive)
        return replace(found, status=Status.INCONCLUSIVE, reason=reason, undecided=1, doubts=(doubt,))
    first = report.failures[0]
    lines = format_finding(first).splitlines()
    lines += [f"  also      {more.code} {more.claim}: {more.detail or more.sentence}" for more in report.failures[1:]]
    lines.insert(1, f"  given     to torch.autograd.gradcheck at {plain.where}")
    return replace(
        found,
        where=first.where or plain.where,
        status=Status.DISAGREED,
        code=first.code,
        claim=first.claim,
        failing=tuple(f"{finding.code} {finding.claim}" for finding in report.failures),
        headline=f"{first.code} {first.call}: {first.detail or first.sentence}",
        report="\n".join(lines[:_MAX_LINES]),
        script_problem="what was given to torch.autograd.gradcheck is the test's own",
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that a user's Function prints, logs or warns of, some thousand times, reaches the test's report."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
