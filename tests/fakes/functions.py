"""A check of users' Functions that looks at nothing but their names, and is fast: ``Wrong...`` disagrees, and so on.

Its text also works as the end of a conftest, for runs in processes of their own.
"""

from __future__ import annotations

import sys
from typing import Any

from gradcheck.functions.wishes import Allowance, Wishes
from gradcheck.plugin import judging  # noqa: F401 - for the conftest
from gradcheck.report.function import FunctionResult, Status

STATES = {"Wrong": Status.DISAGREED, "Odd": Status.INCONCLUSIVE, "Round": Status.DELIBERATE}
HEADLINE = "GC101 vjp_matches_numeric: The fake holds."


def examine(observed: Any, *, seed: int, allowance: Allowance, wishes: Wishes) -> FunctionResult:
    """As `gradcheck.functions.examine.examine`; tells as a note what it was asked for."""
    short = observed.function.__name__
    if short.startswith("Raises"):
        raise RuntimeError("the check itself")
    if short.startswith("Exits"):
        raise SystemExit(3)
    sys.stdout.write("printed by the check\n")
    state = next((state for name, state in STATES.items() if short.startswith(name)), Status.AGREED)
    if wishes.surrogate:
        state = Status.DELIBERATE
    is_wrong = state is Status.DISAGREED or (short.startswith("Once") and observed.create_graph)
    return FunctionResult(
        observed.name,
        where=f"ops.py:41 in {short}.backward",
        engine="refengine-cpu",
        signature=observed.signature_text,
        status=Status.DISAGREED if is_wrong else state,
        reason=""
        if is_wrong or state is Status.AGREED
        else f"declared: {wishes.surrogate}"
        if wishes.surrogate
        else "a kink",
        code="GC101" if is_wrong else "",
        claim="vjp_matches_numeric" if is_wrong else "",
        failing=("GC101 vjp_matches_numeric",) if is_wrong else (),
        headline="GC101 vjp_matches_numeric: The fake holds." if is_wrong else "",
        report=f"GC101 vjp_matches_numeric: The fake holds.\n  where     ops.py:41 in {short}.backward"
        if is_wrong
        else "",
        script="raise SystemExit(1)\n" if is_wrong else "",
        resolution=1e-9,
        tried=3,
        undecided=2 if state is Status.INCONCLUSIVE else 0,
        evaluations=900,
        seconds=0.25,
        notes=(f"rtol {wishes.rtol:g}, claims {','.join(wishes.claims)}, strict {wishes.strict}, {allowance}",),
    )


INSTALL = "\njudging.examine = examine\n"
