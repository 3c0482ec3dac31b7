"""What is asked of the checks of users' Functions: options, ini values, markers; bad ones end here, in one line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gradcheck.checks.claim import Claims
from gradcheck.failures import UsageError
from gradcheck.functions.isolation import is_possible
from gradcheck.functions.wishes import Allowance, Wishes
from gradcheck.observation.call import name_of
from gradcheck.plugin import baseline
from gradcheck.plugin.baseline import Baseline, Known
from gradcheck.report.function import FunctionResult

BASELINE_KEY = "gradcheck_baseline"
"""How the controller of pytest-xdist names the known failures to its workers."""
DECLARATION = "__gradcheck_surrogate__"
"""What a class body sets to its reason; plain Python, so that production code imports nothing of ours."""
SHARE = 0.1
"""What one Function may spend of the whole budget."""
EVALUATIONS_A_SECOND = 1_000
"""What a second of the budget counts where evaluations are counted: a small Function's on one core of 2026, backward
and all, at half of its speed."""
_DEFAULT_SECONDS = 20.0
_FUNCTION = re.compile(r"[\w.]+:[\w.<>]+")
_KEYWORDS = ("domain", "rtol", "claims", "nondet_tol")


@dataclass(frozen=True, slots=True)
class Options:
    """What a run asks.

    Attributes
    ----------
    surrogates : mapping of str to str
        Why the backward of a Function is another one on purpose, by the Function's name.
    ignored : frozenset of str
        The names of the Functions that are left out.
    seconds : float
        The budget.
    is_counted : bool
        Evaluations are counted instead of seconds.
    is_strict : bool
        A deliberate mismatch is a failure.
    is_isolated : bool
        Each check runs in a process of its own.
    allows_empty : bool
        Nothing to check is no failure.
    """

    surrogates: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    seconds: float = _DEFAULT_SECONDS
    is_counted: bool = False
    is_strict: bool = False
    is_isolated: bool = False
    allows_empty: bool = False


def setting(config: pytest.Config, name: str) -> Any:
    """An option, or its ini twin where the option is not given."""
    given = getattr(config.option, name)
    return config.getini(name) if given is None or given is False else given


def options_of(config: pytest.Config, *, is_counted: bool) -> Options:
    """Read and check everything but the baseline.

    Raises
    ------
    UsageError
    """
    ignored = ignored_of(config)
    for name in ignored:
        _require_function(name, "gradcheck_ignore")
    is_isolated = bool(setting(config, "gradcheck_isolate"))
    if is_isolated and not is_possible():
        raise UsageError("--gradcheck-isolate: this system cannot fork a process; run without it")
    return Options(
        surrogates=_surrogates(config.getini("gradcheck_surrogate")),
        ignored=ignored,
        seconds=_seconds(config),
        is_counted=is_counted,
        is_strict=bool(setting(config, "gradcheck_strict")),
        is_isolated=is_isolated,
        allows_empty=bool(config.getini("gradcheck_allow_empty")),
    )


def ignored_of(config: pytest.Config) -> frozenset[str]:
    """The Functions that are not even observed."""
    return frozenset(config.getini("gradcheck_ignore"))


def _require_function(name: str, place: str) -> None:
    if not _FUNCTION.fullmatch(name):
        raise UsageError(f"{place}: expected a Function as pkg.mod:Class, got {name!r}")


def _surrogates(entries: Iterable[str]) -> dict[str, str]:
    """Reasons by name, from ``pkg.mod:Class`` or ``pkg.mod:Class = reason`` a line."""
    found = {}
    for entry in entries:
        name, _, reason = (part.strip() for part in entry.partition("="))
        _require_function(name, "gradcheck_surrogate")
        found[name] = reason or "named in gradcheck_surrogate"
    return found


def _seconds(config: pytest.Config) -> float:
    try:
        given = setting(config, "gradcheck_budget")
    except (TypeError, ValueError, pytest.UsageError) as error:  # an ini value of another type
        raise UsageError(f"gradcheck_budget: expected seconds, 0 or more: {error}") from error
    seconds = _DEFAULT_SECONDS if given is None else float(given)
    if not 0.0 <= seconds < math.inf:
        raise UsageError(f"--gradcheck-budget: expected seconds, 0 or more, got {given}")
    return seconds


def baseline_of(config: pytest.Config) -> Baseline:
    """The known failures: read from the file, or as the controller sent them.

    Raises
    ------
    UsageError
    """
    updates, prunes = (bool(setting(config, f"gradcheck_baseline_{word}")) for word in ("update", "prune"))
    sent = getattr(config, "workerinput", {}).get(BASELINE_KEY)
    if sent is not None:
        return Baseline(entries={Known(*known) for known in sent}, updates=updates)
    given = config.option.gradcheck_baseline
    # As pytest does: an option is relative to where it was typed, an ini value to the root.
    base = config.invocation_params.dir if given else config.rootpath
    name = given or config.getini("gradcheck_baseline")
    if name:
        return baseline.read(Path(base) / name, updates=updates, prunes=prunes)
    if updates or prunes:
        raise UsageError("--gradcheck-baseline-update, -prune: expected --gradcheck-baseline=FILE beside it")
    return Baseline()


# Markers ------------------------------------------------------------------------------------------------------------


def marked(item: pytest.Item, claims: Claims) -> dict[str, Any]:
    """What the markers of a test ask for, the closest one first: fields of `Wishes`; empty where they ask for nothing.

    Raises
    ------
    UsageError
        For an unknown keyword or claim, or a value that makes no sense.
    """
    found: dict[str, Any] = {}
    for mark in reversed([*item.iter_markers("gradcheck")]):
        if mark.args:
            raise UsageError(f"marker gradcheck: expected keywords only, got {mark.args[0]!r}")
        for keyword, value in mark.kwargs.items():
            if keyword not in _KEYWORDS:
                raise UsageError(f"marker gradcheck: unknown keyword {keyword!r}; known are {', '.join(_KEYWORDS)}")
            found[keyword] = _READ[keyword](value, claims)
    return found


def _rtol(value: Any, claims: Claims) -> float:
    if not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise UsageError(f"marker gradcheck: expected rtol between 0 and 1, got {value!r}")
    return float(value)


def _nondet_tol(value: Any, claims: Claims) -> float:
    if not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise UsageError(f"marker gradcheck: expected nondet_tol of 0 or more, below 1, got {value!r}")
    return float(value)


def _claims(value: Any, claims: Claims) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple, set)) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"marker gradcheck: expected claims as a name or a list of names, got {value!r}")
    for claim in (claims.get(name) for name in names):
        if claim.kind != "function":
            raise UsageError(f"marker gradcheck: claim {claim.name} is about a {claim.kind}, not a function")
    return tuple(sorted({claims.get(name).code for name in names}))


def _domain(value: Any, claims: Claims) -> Any:
    pairs = tuple(value.items()) if isinstance(value, Mapping) else ((0, value),)
    for position, pair in pairs:
        if type(position) is not int or not _is_interval(pair):
            raise UsageError(
                "marker gradcheck: expected domain as (low, high), or such a pair by an argument's position, "
                f"got {value!r}"
            )
    return {k: (float(a), float(b)) for k, (a, b) in pairs} if isinstance(value, Mapping) else (*map(float, value),)


def _is_interval(value: Any) -> bool:
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    return is_pair and all(isinstance(x, (int, float)) for x in value) and value[0] < value[1]


_READ: Mapping[str, Any] = {"domain": _domain, "rtol": _rtol, "claims": _claims, "nondet_tol": _nondet_tol}


def wishes_for(function: type, asked: Mapping[str, Any], options: Options) -> Wishes:
    """What is wished of one Function, from its class, the markers of the test that calls it and the run's options."""
    surrogate = options.surrogates.get(name_of(function)) or _declared(function)
    return replace(Wishes(**asked), strict=options.is_strict, surrogate=surrogate)


def _declared(function: type) -> str:
    """Why a class says that its backward is another one on purpose; "" where it does not."""
    given = getattr(function, DECLARATION, "")
    return given if isinstance(given, str) else f"by {DECLARATION}" if given else ""


# The budget ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Budget:
    """What the checks of this process may spend, and have spent, in seconds or in evaluations."""

    options: Options
    spent: float = 0.0
    by_function: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """What there is in all."""
        return self.options.seconds * (EVALUATIONS_A_SECOND if self.options.is_counted else 1)

    def left(self, name: str) -> float:
        """What one Function may still spend."""
        own = self.total * SHARE - self.by_function.get(name, 0.0)
        return max(0.0, min(own, self.total - self.spent))

    def allowance(self, name: str) -> Allowance:
        """The same, as a check takes it."""
        left = self.left(name)
        return Allowance(seconds=None, evaluations=int(left)) if self.options.is_counted else Allowance(seconds=left)

    def spend(self, result: FunctionResult) -> None:
        """Count what a check cost."""
        cost = result.evaluations if self.options.is_counted else result.seconds
        self.spent += cost
        self.by_function[result.name] = self.by_function.get(result.name, 0.0) + cost
