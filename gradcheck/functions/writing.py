"""From what was found about a Function to the result that is reported."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.report.function import FunctionResult, Status
from gradcheck.report.result import format_finding
from gradcheck.report.script import function_script

if TYPE_CHECKING:
    from gradcheck.functions.inquiry import Examination, Failure

# With the lines that say how to see it again, a failure has no more than 25.
_LINES = 22
_ZERO = "the derivative is zero wherever it was looked at"


def written(found: Examination, plain: FunctionResult) -> FunctionResult:
    """The result of an examination; `plain` has the name and the place.

    Parameters
    ----------
    found : Examination
    plain : FunctionResult
    """
    status, reason = status_of(found)
    notes = [*found.notes, *found.refusals]
    if found.cut:
        notes.append(f"cut by the budget: {', '.join(dict.fromkeys(found.cut))}")
    result = replace(
        plain,
        status=status,
        reason=reason,
        resolution=found.resolution,
        tried=found.tried,
        undecided=len(found.doubts),
        is_blind=found.is_blind,
        doubts=tuple(found.doubts),
        evaluations=found.meter.evaluations,
        notes=tuple(notes),
    )
    if found.failures:
        result = _with_failure(found, result)
    return replace(result, seconds=found.meter.seconds)


def status_of(found: Examination) -> tuple[Status, str]:
    """How an examination ended, and why it did not end better."""
    if found.failures:
        return Status.DISAGREED, ""
    if found.excuse:
        return Status.DELIBERATE, found.excuse
    if found.agreed:
        return Status.AGREED, ""
    reasons = dict.fromkeys(found.reasons)
    return Status.INCONCLUSIVE, ", ".join(reasons) or _ZERO


def _with_failure(found: Examination, result: FunctionResult) -> FunctionResult:
    first, *others = found.failures
    call = found.seen.call
    assert isinstance(call.function, type)  # what is observed are classes
    lines = [_first_line(first), *format_finding(first.finding).splitlines()]
    lines += [f"also {f.finding.code} {f.finding.claim}: {f.finding.detail or f.finding.sentence}" for f in others]
    if len(lines) > _LINES:
        lines[_LINES - 1 :] = [f"and {len(lines) - _LINES + 1} lines more"]
    script, problem = function_script(
        first.finding,
        function=call.function,
        arguments=call.arguments,
        engine=call.engine,
        default_dtype=call.default_dtype,
        prepare=first.prepare,
    )
    return replace(
        result,
        code=first.finding.code,
        claim=first.finding.claim,
        failing=tuple(f"{f.finding.code} {f.finding.claim}" for f in found.failures),
        headline=_headline(first),
        mistake=str(first.finding.mistake or ""),
        report="\n".join(line[:118] for line in lines),
        script=script,
        script_problem=problem,
    )


def _first_line(failure: Failure) -> str:
    finding = failure.finding
    if failure.drawn:
        return f"{finding.call} on {finding.engine} is wrong at drawn values only ({failure.drawn}), not at those seen"
    return f"{finding.call} on {finding.engine} is wrong"


def _headline(failure: Failure) -> str:
    """``GC101 RowMax.apply(x0): 0.5 instead of 1 ± 4e-14``."""
    finding = failure.finding
    if finding.analytic is None or finding.numeric is None:
        what = finding.detail or finding.sentence
    else:
        what = f"{finding.analytic:.6g} instead of {finding.numeric:.6g}"
        if finding.error is not None and math.isfinite(finding.error):
            what += f" ± {finding.error:.1g}"
    return f"{finding.code} {finding.call}: {what}"
