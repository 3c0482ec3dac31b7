"""How a run ends: its exit status, the baseline's file, the section in the terminal."""

from __future__ import annotations

import difflib
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck.plugin.config import DEFAULT_ENGINE
from gradcheck.report import summary, terminal
from gradcheck.report.doubt import CLAIM, CODE
from gradcheck.report.function import Status
from gradcheck.report.summary import Line

if TYPE_CHECKING:
    from gradcheck.plugin.session import GradcheckSession

_COLOURS = {"bad": "red", "odd": "yellow"}
_NOTHING = "gradcheck: nothing was checked: no test called an autograd Function of your own code with a floating input"
_ADVICE = (
    "  ini gradcheck_packages names installed packages whose Functions count as yours; the fixture gradcheck checks "
    "any function",
    f"  the property suite was not run; name its engine: --gradcheck-engine={DEFAULT_ENGINE}",
)
_ALLOW = "  ini gradcheck_allow_empty lets such a run pass"


def exit_status(session: GradcheckSession, status: int | pytest.ExitCode) -> int | pytest.ExitCode:
    """The status that a run ends with.

    It fails where a disagreement is shown by no test, where an op was inconclusive too often in a strict profile, and
    where there was nothing to check.
    """
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return status
    is_strict = session.settings.profile.is_strict
    if session.account.uncarried() or (is_strict and terminal.undecided_ops(session.records.values())):
        return pytest.ExitCode.TESTS_FAILED
    if has_checked(session) or session.settings.options.allows_empty:
        return status
    return pytest.ExitCode.NO_TESTS_COLLECTED


def has_checked(session: GradcheckSession) -> bool:
    """Whether the run checked anything."""
    return bool(session.records) or session.account.has_checked


# The baseline -------------------------------------------------------------------------------------------------------


def settle_baseline(session: GradcheckSession) -> list[str]:
    """Write the file where that was asked for; what there is to say about it."""
    baseline = session.settings.baseline
    account = session.account
    account.known_doubts = {doubt.name for doubt in account.doubts() if baseline.knows(doubt.name, CODE, CLAIM)}
    entries = [entry.result for entry in session.account.entries.values()]
    checked = {result.name for result in entries if result.status is not Status.UNCHECKED}
    checked |= {str(record.target) for record in session.records.values()}
    stale = [] if baseline.prunes else baseline.stale(checked)
    try:
        dropped = baseline.save(checked, lambda op: _is_gone(session, op))
    except OSError as error:
        return [f"warning: the baseline could not be written ({error})"]
    lines = [f"baseline: {known} matched nothing; --gradcheck-baseline-prune drops it" for known in stale]
    lines += [f"baseline: dropped {known}" for known in dropped]
    return [*lines, *(f"baseline: added {known}" for known in sorted(baseline.added))]


def _is_gone(session: GradcheckSession, op: str) -> bool:
    """Whether nothing of this name was seen though everything was run. Items of the suite come and go with options."""
    return session.is_whole and "::" not in op and op not in session.account.defined


# The terminal -------------------------------------------------------------------------------------------------------


def write_summary(session: GradcheckSession, reporter: pytest.TerminalReporter) -> None:
    """The section: users' Functions, the property suite's table, what stands out, versions."""
    lines = [*summary.lines(session.account), *_suite(session), *_problems(session)]
    if not has_checked(session):
        lines += _nothing(session)
    else:
        seconds = sum(entry.result.seconds for entry in session.account.entries.values())
        seconds += sum(record.seconds for record in session.records.values())
        lines.append(Line(summary.versions(_versions(session), session.settings.seed, seconds)))
    reporter.write_sep("=", "gradcheck")
    for line in lines:
        reporter.write_line(line.text, **({_COLOURS[line.tone]: True} if line.tone else {}))


def _suite(session: GradcheckSession) -> list[Line]:
    records = [*session.records.values()]
    if not records:
        return []
    codes = {claim.name: claim.code for claim in session.settings.registry.claims.all()}
    tone = "bad" if session.settings.profile.is_strict else "odd"
    return [
        *map(Line, terminal.table(records, codes)),
        *map(Line, terminal.reasons(records)),
        *(Line(f"known: {record.target} {record.known}") for record in records if record.known),
        *(Line(str(undecided), tone) for undecided in terminal.undecided_ops(records)),
    ]


def _problems(session: GradcheckSession) -> list[Line]:
    return [Line(problem, "odd") for problem in dict.fromkeys([*session.problems, *_misspelt(session)])]


def _misspelt(session: GradcheckSession) -> list[str]:
    """Ini values that name no Function, and look like one that there is."""
    options, defined = session.settings.options, session.account.defined
    found = []
    for ini, names in (("gradcheck_ignore", sorted(options.ignored)), ("gradcheck_surrogate", options.surrogates)):
        for name in names:
            near = difflib.get_close_matches(name, defined, n=1, cutoff=0.8)
            if name not in defined and near:
                found.append(f"{ini}: no Function {name!r} was seen; did you mean {near[0]}?")
    return found


def _nothing(session: GradcheckSession) -> list[Line]:
    if session.settings.options.allows_empty:
        return [Line(_NOTHING, "odd"), *map(Line, _ADVICE)]
    return [Line(_NOTHING, "bad"), *map(Line, (*_ADVICE, _ALLOW))]


def _versions(session: GradcheckSession) -> dict[str, str]:
    """The versions of what took part."""
    found = {"python": platform.python_version(), "pytest-gradcheck": _version("pytest-gradcheck")}
    found["numpy"] = np.__version__
    places = [entry.result.engine for entry in session.account.entries.values()]
    engines = [*(place.partition("-")[0] for place in places), *(r.target.engine for r in session.records.values())]
    for engine in dict.fromkeys(engines):
        version = getattr(sys.modules.get(engine), "__version__", None) or _version(engine)
        if version:
            found.setdefault(engine, str(version))
    return {name: version for name, version in found.items() if version}


def _version(distribution: str) -> str:
    """Of an installed distribution; "" where there is none of that name."""
    try:
        return metadata.version(distribution) if distribution else ""
    except metadata.PackageNotFoundError:
        return ""
