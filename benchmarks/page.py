"""Write docs/benchmarks.md from what the parts saved: every target beside what was found, then every table."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.harness import Result, Spread
from benchmarks.markdown import prose, table
from benchmarks.store import Part, load
from benchmarks.targets import TARGETS, Target

LIBRARIES = (
    "numpy", "scipy", "hypothesis", "pytest", "torch", "jax", "autograd", "mygrad", "micrograd", "numdifftools",
)  # fmt: skip
TITLES = {
    "engine": "The engine",
    "large": "Large graphs",
    "checking": "Checking",
    "programs": "Programs",
    "startup": "Start-up",
}
ABOUT = {
    "engine": (
        "Forward and backward through the same function on every library, in float64. *NumPy by hand* keeps every",
        "forward value that its hand-written backward pass needs, as an engine must. All gradients are compared with",
        "each other before anything is measured. JAX's time is that of the compiled function, without compiling it.",
    ),
    "large": ("The cycle collector runs as it does for users; elsewhere it rests while the clock runs.",),
    "checking": (
        "Every checker runs with its defaults and has first refused a doubled gradient. *Full* compares all entries of",
        "the Jacobian, *directions* is what `gradcheck.check` does by default, both for GC101 alone at rtol 1e-6, a",
        "thousand times tighter than `torch.autograd.gradcheck`; *every claim* is all that `gradcheck.check` asks,",
        "second order and forward mode included. Second order is GC104, with all of its numerical side.",
    ),
    "programs": (
        "Programs of up to 15 records around each group of ops, as the plugin draws them, on one core. A planted",
        "mistake is a gradient of one op that is a quarter too large; it must shrink to one call of that op.",
    ),
    "startup": ("CPU time of whole processes, with compiled files in place; pytest runs one empty test.",),
}
UNMEASURED = "not measured"


def write(path: Path, parts: Sequence[Part]) -> None:
    """Write the page."""
    lines = [*_head(parts), *target_table(results_of(parts)), ""]
    for part in parts:
        lines += [f"## {TITLES[part.name]}", "", *prose(*ABOUT[part.name]), ""]
        for result in results_of([part]):
            lines += [*result_table(result), ""]
        lines += [f"This part took {part.seconds:,.0f} s, at the scale *{part.options['scale']}*.", ""]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def load_all(directory: Path, names: Iterable[str]) -> list[Part]:
    """The parts that were saved."""
    return [part for name in names if (part := load(directory, name)) is not None]


def results_of(parts: Iterable[Part]) -> list[Result]:
    """Their results, as they were measured."""
    return [Result(**one) for part in parts for one in part.data]


def _head(parts: Sequence[Part]) -> list[str]:
    dates = " and ".join(sorted({part.date for part in parts}))
    return [
        "# Benchmarks",
        "",
        *prose(f"Written by `python -m benchmarks run` on {dates}. {machine()}. {versions()}."),
        "",
        *prose(
            "Contestants take turns; a figure is the median over rounds with its tenth and ninetieth percentile, a",
            "ratio that of times in the same round. CPU time of one thread.",
        ),
        "",
    ]


def machine() -> str:
    """What was measured on."""
    return f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, {_processor()}, one thread"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def versions() -> str:
    """Python's and every library's."""
    return f"Python {platform.python_version()}, {', '.join(map(_version, LIBRARIES))}"


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} absent"


def target_table(results: Sequence[Result]) -> list[str]:
    """Every target beside what was found."""
    return table(("", "target", "measured", ""), (target_row(target, results) for target in TARGETS))


def target_row(target: Target, results: Sequence[Result]) -> tuple[str, str, str, str]:
    """One target, its limit, what was found and whether that will do."""
    found = target.found(results)
    if found is None:
        return target.what, target.wanted, UNMEASURED, ""
    return (
        target.what,
        target.wanted,
        f"{found}{target.unit}",
        "met" if target.is_met(found) else _missed(target, found),
    )


def _missed(target: Target, found: Spread) -> str:
    larger, smaller = max(found.median, target.limit), min(found.median, target.limit)
    distance = f" by a factor of {larger / smaller:.2g}" if smaller > 0.0 else ""
    return f"missed{distance}{f': {target.reason}' if target.reason else ''}"


def result_table(result: Result) -> list[str]:
    """One benchmark: each contestant's time and its ratio to the baseline; and who is absent."""
    times, ratios = result.times, result.ratios
    rows = [(name, times[name], _against(ratios[name])) for name in result.samples]
    lines = table((result.name, result.unit, f"× {result.baseline}"), rows)
    return lines + _absent(result.absent)


def _against(found: Spread) -> str:
    """A ratio; where all is the baseline itself there is none to state."""
    return "1" if found == Spread(1.0, 1.0, 1.0) else str(found)


def _absent(absent: Mapping[str, str]) -> list[str]:
    if not absent:
        return []
    return ["", *prose("Absent:", "; ".join(f"{name}: {why}" for name, why in absent.items()) + ".")]
