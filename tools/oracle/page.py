"""Write docs/oracle_table.md from what the parts saved, with each target beside what was found."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.markdown import counted, number, prose, share, table
from benchmarks.store import Part, load
from tools.oracle import planted_page

Data = Sequence[Mapping[str, Any]]
LIBRARIES = ("numpy", "scipy", "mpmath", "torch", "jax", "autograd")

UNIFORM, ONE_ENTRY, LARGE = 1e-8, 1e-6, [32, 32]
APART = "kink_composition"
INCONCLUSIVE = {"smooth": 0.01}
UNDECIDED = 0.10
SEEN, SEEN_NEAR = 0.95, 0.85
NEAR = ("near_kink", "edge")
EXCEEDED = 1e-3
COVERED = ("smooth", "ill_scaled", "stiff", "near_kink", "edge")
COSTLY = 50

TITLES = {
    "smooth": "smooth",
    "ill_scaled": "ill-scaled",
    "stiff": "stiff",
    "near_kink": "near a kink",
    "at_kink": "at a kink, one op",
    APART: "at a kink, several ops",
    "edge": "domain edge",
    "saturated": "saturated",
}
WHAT = {
    "smooth": "one to eight ops at values of ordinary size",
    "ill_scaled": "inputs, results or weights off by factors of 1e-6 to 1e6; or a constant of up to 1e6 added",
    "stiff": "frequencies to 10^4.5, exponents to 30, steps and bells of width 1e-4 to 0.1",
    "near_kink": "a kink or tie at a distance of 1e-9 to 0.1",
    "at_kink": "exactly at the kink or tie of the only op, in some entries",
    APART: "exactly at kinks of several ops, through which right conventions need not compose; for information",
    "edge": "1e-9 to 0.1 from the end of a domain, or exactly at it",
    "saturated": "arguments of 0.5 to 800: flat, underflowing, cancelling",
}


def write(path: Path, directory: Path) -> list[str]:
    """Write the page; returns the targets that are missed, in words."""
    sections = {
        "detection": _detection, "alarms": _alarms, "second": _second, "planted": planted_page.section, "cost": _cost,
    }  # fmt: skip
    parts = {name: found for name in sections if (found := load(directory, name)) is not None}
    body: list[str] = []
    targets: list[tuple[str, str, bool]] = []
    for name, part in parts.items():
        lines, found = sections[name](part.data)
        body += [*lines, f"This part took {part.seconds:,.0f} s ({_options(part)}).", ""]
        targets += found
    lines = [*_head(parts), *_targets(targets), *body]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return [f"{what}: {found}" for what, found, is_met in targets if not is_met]


def _head(parts: Mapping[str, Part]) -> list[str]:
    dates = sorted({part.date for part in parts.values()})
    return [
        "# The oracle's table",
        "",
        f"Written by `python -m tools.oracle` on {' and '.join(dates)}. {_machine()}.",
        f"Python {platform.python_version()}, {', '.join(_versions())}.",
        "",
        *prose(
            "Every checker runs with its defaults. *Ours* is GC101 as `gradcheck.check` asks it, at rtol 1e-6;",
            "the checkers of JAX and HIPS autograd run in reverse mode. Truth is dual numbers in mpmath to fifty",
            "digits, checked against difference quotients in 120 digits. `python -m tools.oracle --replay",
            "CLASS:NUMBER` shows one graph and what all say of it.",
        ),
        "",
    ]


def _machine() -> str:
    """The machine in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of one {model} ({platform.machine()}), one thread a process"


def _versions() -> Iterable[str]:
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed and so left out"


def _options(part: Part) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in part.options.items())


def _targets(targets: Sequence[tuple[str, str, bool]]) -> list[str]:
    rows = [(what, found, "met" if is_met else "**missed**") for what, found, is_met in targets]
    return ["## Targets", "", *table(("target", "found", ""), rows), ""]


# --- detection ------------------------------------------------------------------------------------------------------


def _power(error: float | None) -> str:
    return "none" if error is None else f"{error:.0e}"


def _worst(found: Data) -> float | None:
    errors = [one["error"] for one in found]
    return None if None in errors or not errors else max(errors)


def _median(found: Data) -> float | None:
    ordered = sorted(float("inf") if one["error"] is None else one["error"] for one in found)
    middle = statistics.median_low(ordered) if ordered else float("inf")
    return None if middle == float("inf") else middle


def _detection(data: Data) -> tuple[list[str], list[tuple[str, str, bool]]]:
    judges = list(dict.fromkeys(one["judge"] for one in data))
    shapes = list(dict.fromkeys(tuple(one["shape"]) for one in data))
    rows = []
    for judge in judges:
        mine = [one for one in data if one["judge"] == judge and not one["alarm"]]
        alarms = sum(one["alarm"] for one in data if one["judge"] == judge and one["place"] == "uniform")
        cells = []
        for place in ("uniform", "one entry"):
            own = [one for one in mine if one["place"] == place and (place == "uniform" or one["shape"] == LARGE)]
            cells += [_power(_median(own)), _power(_worst(own))]
        rows.append((judge, *cells, alarms))
    ours = [one for one in data if one["judge"] == "ours"]
    uniform = _worst([one for one in ours if one["place"] == "uniform"])
    entry = _worst([one for one in ours if one["place"] == "one entry" and one["shape"] == LARGE])
    targets = [
        (
            "smallest uniform error seen, worst op, shape and magnitude: 1e-8",
            _power(uniform),
            _at_most(uniform, UNIFORM),
        ),
        ("the same in one entry of 1,024: 1e-6", _power(entry), _at_most(entry, ONE_ENTRY)),
    ]
    ops, listed = (
        len({one["op"] for one in data}),
        ", ".join(str(shape) for shape in sorted(shapes, key=lambda shape: (len(shape), shape))),
    )
    lines = [
        "## The smallest error seen",
        "",
        *prose(
            f"An op's right gradient times 1 + 10^-k, for all entries or for one. {ops} ops, shapes {listed},",
            "magnitudes 1e-3, 1 and 1e3 (not 1e3 where that saturates). A power of ten is seen if it is called",
            "wrong, and so are the larger ones tried. *None*: twice the gradient passes. Alarms: right gradients",
            "called wrong, which are left out. PyTorch's slow mode is asked about 1,024 entries at magnitude 1 only.",
        ),
        "",
        *table(
            ("", "uniform, median", "uniform, worst", "one entry of 1,024, median", "one entry, worst", "alarms"), rows
        ),
        "",
        *_by_op(ours),
        "",
    ]
    return lines, targets


def _at_most(found: float | None, limit: float) -> bool:
    return found is not None and found <= limit * (1.0 + 1e-9)


def _by_op(ours: Data) -> list[str]:
    """Ours, the worst over magnitudes, op by op and shape by shape."""
    shapes = sorted({tuple(one["shape"]) for one in ours}, key=lambda shape: (len(shape), shape))
    places = ("uniform", "one entry")
    heads = ("ours: uniform / one entry", *(str(shape) for shape in shapes))
    rows = []
    for op in dict.fromkeys(one["op"] for one in ours):
        cells = []
        for shape in shapes:
            own = [one for one in ours if one["op"] == op and tuple(one["shape"]) == shape]
            found = [[one for one in own if one["place"] == place] for place in places]
            cells.append(" / ".join(_power(_worst(some)) for some in found if some) or "–")
        rows.append((op, *cells))
    return table(heads, rows)


# --- alarms ---------------------------------------------------------------------------------------------------------


def _tried(counts: Mapping[str, Any]) -> int:
    return sum(counts["words"].values()) - counts["words"].get("refused", 0)


def _alarms(data: Data) -> tuple[list[str], list[tuple[str, str, bool]]]:
    lines = [
        "## Graphs: false alarms, and what passes",
        "",
        *(f"- *{TITLES[kind]}*: {what}" for kind, what in WHAT.items()),
        "",
        *prose(
            "*Flat*: agrees that the derivative is zero to the eye; `gradcheck.check` calls that inconclusive,",
            "since nothing was tested. Wrong graphs are the same with the gradient times 1.001 (a quarter of them",
            "for ours on refengine), which is within the default tolerance of PyTorch's checker. Left out: right",
            "graphs that a library itself gives a wrong gradient for, and wrong ones whose error is within a",
            "kink's interval or in a derivative below 1e-9 of the function's size. The last column is the CPU",
            "time of a right graph, first compilations included.",
        ),
        "",
    ]
    targets: list[tuple[str, str, bool]] = []
    for one in data:
        lines += [f"### {TITLES[one['kind']].capitalize()}", "", *_class_table(one), ""]
        if one["kind"] != APART:
            targets += _class_targets(one)
    lines += ["### Coverage of the estimate", "", *_coverage(data), ""]
    return lines, targets


def _class_table(one: Mapping[str, Any]) -> list[str]:
    heads = (
        "", "right graphs", "agree", "flat", "inconclusive", "**false alarms**", "wrong graphs", "**agree**", "flat",
        "inconclusive", "disagree", "left out", "ms",
    )  # fmt: skip
    rows = []
    for name, right in one["right"].items():
        wrong = one["wrong"][name]
        tried, seen = _tried(right), _tried(wrong)
        said, answered = right["words"], wrong["words"]
        asked = tried + right["unfair"] + said.get("refused", 0)
        rows.append((
            name, f"{tried:,}", *(share(said.get(w, 0), tried) for w in ("agree", "flat", "inconclusive")),
            counted(said.get("disagree", 0), tried), f"{seen:,}", counted(answered.get("agree", 0), seen),
            *(share(answered.get(w, 0), seen) for w in ("flat", "inconclusive", "disagree")),
            right["unfair"] + wrong["unfair"], number(1e3 * right["seconds"] / max(asked, 1)),
        ))  # fmt: skip
    return table(heads, rows) + [f"\nRaised: {name}, {text}." for name, text in _raised(one)]


def _raised(one: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Who answered some graphs with another exception than that for a wrong gradient."""
    for side in ("right", "wrong"):
        for name, counts in one[side].items():
            count = counts["words"].get("refused", 0)
            if count:
                texts = [text for text in counts["reasons"] if ": " in text or text.startswith("refused")]
                yield name, f"{count} {side} graphs ({texts[0] if texts else 'unsupported'})"


def _class_targets(one: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    kind, found = one["kind"], []
    title = TITLES[kind]
    names = [name for name in one["right"] if name.startswith("ours")]
    rights, wrongs = [one["right"][name] for name in names], [one["wrong"][name] for name in names]
    right, wrong = one["right"]["ours on refengine"], one["wrong"]["ours on refengine"]
    alarms = sum(counts["words"].get("disagree", 0) for counts in rights)
    tried = sum(_tried(counts) for counts in rights)
    found.append((f"{title}: no false alarm", f"{alarms} in {tried:,}", alarms == 0))
    limit = INCONCLUSIVE.get(kind, UNDECIDED)
    undecided = right["words"].get("inconclusive", 0)
    found.append((
        f"{title}: inconclusive at most {100 * limit:g} %", share(undecided, _tried(right)),
        undecided <= limit * _tried(right),
    ))  # fmt: skip
    passed = sum(counts["words"].get("agree", 0) for counts in wrongs)
    seen = sum(_tried(counts) for counts in wrongs)
    found.append((f"{title}: no agreement on a wrong gradient", f"{passed} in {seen:,}", passed == 0))
    least = SEEN_NEAR if kind in NEAR else SEEN
    caught = wrong["words"].get("disagree", 0)
    found.append((
        f"{title}: wrong ones called so at least {100 * least:g} %", share(caught, _tried(wrong)),
        caught >= least * _tried(wrong),
    ))  # fmt: skip
    if kind in COVERED:
        coverage = one["coverage"]
        exceeded, estimated = coverage["exceeded"] - coverage["hidden"], coverage["estimated"]
        found.append((
            f"{title}: true error above the estimate in under 0.1 %", f"{exceeded} of {estimated:,}",
            exceeded < EXCEEDED * estimated,
        ))  # fmt: skip
    return found


def _coverage(data: Data) -> list[str]:
    heads = (
        "", "derivatives", "with an estimate", "true error above it", "own", "share", "most, times",
        "one-sided estimates", "true error above it", "evaluations, mean",
    )  # fmt: skip
    rows = []
    for one in data:
        found = one["coverage"]
        rows.append((
            TITLES[one["kind"]], f"{found['outputs']:,}", f"{found['estimated']:,}", found["exceeded"],
            found["hidden"], share(found["exceeded"] - found["hidden"], found["estimated"]), f"{found['worst']:.3g}",
            f"{found['sided']:,}", counted(found["sided_exceeded"], found["sided"]),
            f"{found['evaluations'] / max(found['graphs'], 1):.0f}",
        ))  # fmt: skip
    return [
        *prose(
            "One line through each graph, `numeric.differences.differentiate` against the truth, for each output;",
            "apart, the one-sided derivatives where it says that there are two (a kink at the point, or one so near",
            "that no step is shorter). *Own*: of the true errors above the estimate, those within the function's own",
            "error: where values have lost digits and are all off by a part in a billion, so is their derivative, and",
            "no sample of values shows it. The share is of the others.",
        ),
        "",
        *table(heads, rows),
    ]


# --- the rest -------------------------------------------------------------------------------------------------------


def _second(data: Data) -> tuple[list[str], list[tuple[str, str, bool]]]:
    heads = ("", "", "right", "false alarms", "inconclusive", "wrong", "agree", "flat", "inconclusive", "disagree")
    rows = []
    for one in data:
        for name, right in one["right"].items():
            wrong = one["wrong"][name]
            tried, seen, said, answered = _tried(right), _tried(wrong), right["words"], wrong["words"]
            rows.append((
                TITLES[one["kind"]], name, tried, counted(said.get("disagree", 0), tried),
                share(said.get("inconclusive", 0), tried), seen,
                counted(answered.get("agree", 0), seen), share(answered.get("flat", 0), seen),
                share(answered.get("inconclusive", 0), seen), share(answered.get("disagree", 0), seen),
            ))  # fmt: skip
    lines = [
        "## Second order",
        "",
        *prose(
            "Graphs in PyTorch with a right first derivative, whose second one is right, or off by a factor of",
            "1.001; *ours* is GC104.",
        ),
        "",
        *table(heads, rows),
        "",
    ]
    return lines, []


def _cost(data: Data) -> tuple[list[str], list[tuple[str, str, bool]]]:
    rows, targets = [], []
    for one in data:
        calls, ratios = one["calls"], one["ratios"]
        rows.append((
            f"{one['size']:,}", *(f"{calls[name]:,}" for name in calls),
            *(number(one["milliseconds"][name]) for name in calls), *(_spread(ratios[name]) for name in ratios),
        ))  # fmt: skip
        if one["size"] >= COSTLY:
            found = f"{calls['ours']:,} against {calls['torch slow']:,}"
            what = f"n = {one['size']:,}: no more evaluations than slow mode"
            targets.append((what, found, calls["ours"] <= calls["torch slow"]))
    names = list(data[0]["calls"]) if data else []
    wrong = sorted({name for one in data for name, is_seen in one["wrong_seen"].items() if not is_seen})
    heads = (
        "n", *(f"evaluations, {name}" for name in names), *(f"ms, {name}" for name in names),
        "ours / slow", "ours / fast",
    )  # fmt: skip
    passing = f"; twice the gradient passes {', '.join(wrong)}" if wrong else " and refuses twice the gradient"
    lines = [
        "## Cost",
        "",
        *prose(
            "A ten-op function of n numbers with n results, each of which depends on all inputs; CPU time, medians of",
            "interleaved rounds (10 to 90 % in parentheses). Ours is `gradcheck.check` with GC101 alone. Every checker",
            f"accepts the right gradient{passing}.",
        ),
        "",
        *table(heads, rows),
        "",
    ]
    return lines, targets


def _spread(found: Sequence[float]) -> str:
    low, middle, high = found
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"
