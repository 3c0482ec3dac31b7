"""The checking benchmarks: what it costs to ask whether a gradient is right, by function, size and order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.checkers import FIRST, QUICK, SECOND, Checker, question, require_sight
from benchmarks.functions import FUNCTIONS, Checked, composite, matmul
from benchmarks.harness import Benchmark, Result, Work, run
from benchmarks.scale import Scale

SIZES = (10, 100, 1_000)
# Of numerical Jacobians: their own error.
RTOL = 1e-4


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """All of them."""
    results = []
    for benchmark in benchmarks(scale):
        result = run(benchmark, **scale.how)
        say(f"{benchmark.name}: {', '.join(f'{name} {time}' for name, time in result.times.items())} ms")
        results.append(result)
    return results


def benchmarks(scale: Scale) -> Iterator[Benchmark]:
    """First order, then second, then Jacobians by numbers alone."""
    for checked in _chosen(scale):
        yield benchmark(checked, "first order", FIRST, scale)
    for checked in _chosen(scale):
        if scale.is_full or checked.size <= 100:
            yield benchmark(checked, "second order", SECOND, scale)
    for size in _sizes(scale)[:2] if scale.is_full else ():
        yield jacobians(composite(size))


def _sizes(scale: Scale) -> tuple[int, ...]:
    return SIZES[: scale.pick(1, 3, 3)]


def _chosen(scale: Scale) -> list[Checked]:
    if not scale.is_full:  # those that targets are about
        return [composite(100), composite(1_000), matmul(1_000)]
    return [function(size) for function in FUNCTIONS for size in _sizes(scale)]


def benchmark(checked: Checked, order: str, checkers: Sequence[Checker], scale: Scale) -> Benchmark:
    """One function at one size; raises where a checker cannot tell right from wrong."""
    works: dict[str, Work] = {}
    absent: dict[str, str] = {}
    for checker in checkers:
        if not scale.is_full and checker.name not in QUICK:
            continue
        if not checker.peer.is_installed:
            absent[checker.name] = f"{checker.peer.name} is not installed"
        elif checked.size > checker.most:
            absent[checker.name] = f"not asked beyond n = {checker.most}"
        else:
            require_sight(checker)
            if not question(checker, checked)():
                absent[checker.name] = "refuses this right function"
                continue
            works[checker.name] = question(checker, checked)
    name = f"{checked.name}, n = {checked.size:,}, {checked.outputs:,} outputs, {order}"
    return Benchmark(name, "ms", 1e3, next(iter(works)), works, absent=absent)


def jacobians(checked: Checked) -> Benchmark:
    """Numerical Jacobians, which compare nothing."""
    function = checked.of(np)
    works: dict[str, Work] = {"scipy.differentiate.jacobian": _scipy(function, checked)}
    absent = {}
    if find_spec("numdifftools"):
        works["numdifftools.Jacobian"] = _numdifftools(function, checked)
    else:
        absent["numdifftools.Jacobian"] = "not installed"
    found = {name: np.asarray(work()) for name, work in works.items()}
    expected = found["scipy.differentiate.jacobian"]
    for name, actual in found.items():
        np.testing.assert_allclose(actual, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max(), err_msg=name)
    name = f"{checked.name}, n = {checked.size:,}, {checked.outputs:,} outputs, a numerical Jacobian alone"
    return Benchmark(name, "ms", 1e3, "scipy.differentiate.jacobian", works, absent=absent)


def _scipy(function: Callable[[Any], Any], checked: Checked) -> Work:
    from scipy.differentiate import jacobian

    def of_columns(x: Any) -> Any:
        """It wants a function of many points at once; this one takes one."""
        points = x.reshape(len(x), -1)
        values = np.stack([function(point) for point in points.T], axis=1)
        return values.reshape(-1, *x.shape[1:])

    return lambda: jacobian(of_columns, checked.point).df


def _numdifftools(function: Callable[[Any], Any], checked: Checked) -> Work:
    from numdifftools import Jacobian

    return lambda: Jacobian(function)(checked.point)
