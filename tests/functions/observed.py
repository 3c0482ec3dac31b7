"""What the tests of examined Functions share: a call is observed as in a run, then judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradcheck.functions.examine import examine
from gradcheck.functions.wishes import Allowance, Wishes
from gradcheck.observation.observer import Observed, Observer
from gradcheck.observation.territory import Territory
from gradcheck.report.function import FunctionResult

PLENTY = Allowance(seconds=60.0)


def observe(call: Callable[[], Any]) -> tuple[Observed, ...]:
    """What `call` showed of the Functions that are defined in our tests."""
    observer = Observer(Territory(Path(__file__).resolve().parents[1]))
    observer.start()
    try:
        call()
    finally:
        observer.stop()
    return observer.touched()


def judge(call: Callable[[], Any], *, allowance: Allowance = PLENTY, seed: int = 0, **wishes: Any) -> FunctionResult:
    """The result for the one Function that `call` applies in one signature."""
    (seen,) = observe(call)
    return examine(seen, seed=seed, allowance=allowance, wishes=Wishes(**wishes))
