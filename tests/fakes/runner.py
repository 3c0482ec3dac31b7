"""A property suite that checks nothing and is fast: environment variables tell what an item says.

Its text also works as the end of a conftest, for runs in processes of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from gradcheck import runner  # noqa: F401 - for the conftest
from gradcheck.case import Case
from gradcheck.events import CaseChecked, CaseSkipped, Event, Finished, Found, Target
from gradcheck.failures import Finding

FAILS, UNDECIDED = "FAKE_FAILS", "FAKE_UNDECIDED"
"""Targets, separated by spaces, that fail; that are inconclusive about half of the time."""


def listed(variable: str, target: Target) -> bool:
    """Whether the environment variable names the target."""
    return str(target) in os.environ.get(variable, "").split()


def run(target: Target, bench: Any, emit: Callable[[Event], None], *, profile: Any, seed: int) -> None:
    """As `gradcheck.runner.run`: agree everywhere, tell the seed as the reason of a skipped case."""
    emit(CaseSkipped(target, f"profile {profile.name}, seed {seed}"))
    for number in range(profile.max_examples):
        is_undecided = listed(UNDECIDED, target) and number % 2 == 1
        emit(CaseChecked(target, "inconclusive" if is_undecided else "agree", ("exp", "mul"), is_undecided * "a kink"))
    fail(target, bench, emit)


def replay(case: Case, bench: Any, emit: Callable[[Event], None]) -> None:
    """As `gradcheck.runner.replay`."""
    emit(CaseChecked(case.target, "agree", ("exp",)))
    fail(case.target, bench, emit)


def fail(target: Target, bench: Any, emit: Callable[[Event], None]) -> None:
    """Emit a failure where the target is to fail."""
    if listed(FAILS, target):
        case = Case(target, bytes(range(16)), bench.table)
        finding = Finding(target.claim, "GC999", "The fake holds.", target.place, "x0.exp()", replay=case.digest)
        emit(Found(target, finding, case.id))
    emit(Finished(target, 0.25))


INSTALL = "\nrunner.run, runner.replay = run, replay\n"
