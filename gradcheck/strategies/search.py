"""Search for a case on which a check disagrees, and shrink it: one silent run of Hypothesis, without a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from gradcheck.verdict import Outcome

Case = TypeVar("Case")


class _Disagreed(Exception):
    """Tells Hypothesis that a case failed."""


def find(
    cases: SearchStrategy[Case],
    run_case: Callable[[Case], Outcome],
    *,
    max_examples: int,
    seed: int,
    on_case: Callable[[Case, Outcome], None],
    shrink: bool = True,
) -> tuple[Case, Outcome] | None:
    """Draw cases until one disagrees, and shrink that one.

    Only what fails like the first failure (same claim, same code) counts while shrinking. A case that is inconclusive
    does not fail, so a trustworthy failure never shrinks into a kink.

    Parameters
    ----------
    cases : strategy
    run_case : callable
        The check, from a case to an outcome.
    max_examples : int
    seed : int
        The same seed draws the same cases.
    on_case : callable
        Is told every case drawn, up to the first that disagrees; not those of shrinking.
    shrink : bool
        Go on to the simplest such case; else stop at the first.

    Returns
    -------
    tuple of case and Outcome, or None
        The simplest case that disagrees.
    """
    failures: list[tuple[Case, Outcome]] = []

    @hypothesis_seed(seed)
    @settings(
        parent=settings.get_profile("default"),
        max_examples=max_examples,
        derandomize=False,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(cases)
    def drawn(case: Case) -> None:
        outcome = run_case(case)
        if not failures:
            on_case(case, outcome)
        if outcome.finding is None:
            return
        if not failures or way(outcome) == way(failures[0][1]):
            failures.append((case, outcome))
            raise _Disagreed

    try:
        drawn()
    except _Disagreed:
        return failures[-1]  # Hypothesis ends by running the minimal case once more.
    except Flaky:
        return failures[-1]  # The check is not deterministic; the last failure seen is as good as there is.
    return None


def way(outcome: Outcome) -> tuple[str, str] | None:
    """What a failure must share with the first one: claim and code; None for what does not fail."""
    finding = outcome.finding
    return None if finding is None else (finding.claim, finding.code)
