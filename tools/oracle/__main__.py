"""Measure the oracle beside its peers and write docs/oracle_table.md.

    python -m tools.oracle [--only detection,alarms] [--graphs N] [--seed S] [--seeds N] [--jobs N] [--data DIRECTORY]
    python -m tools.oracle --replay stiff:17 [...]

Each part is saved on its own, so that `--only` runs some again; the page is written from what is saved.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before NumPy is loaded: times are CPU times of one thread

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "oracle_table.md"
DATA = ROOT / ".gradcheck" / "oracle"
PARTS = ("detection", "alarms", "second", "planted", "cost")


def main(arguments: list[str] | None = None) -> None:
    """Measure, save, write; or replay."""
    options = _options(arguments)
    if options.replay:
        from tools.oracle.alarms import replay

        for identity in options.replay:
            for line in replay(identity):
                print(line)
        return
    asked = options.only.split(",") if options.only else list(PARTS)
    unknown = sorted(set(asked) - set(PARTS))
    if unknown:
        raise SystemExit(f"--only: expected some of {', '.join(PARTS)}, got {', '.join(unknown)}")
    for name in asked:
        _measure(name, options)
    from tools.oracle import page

    missed = page.write(PAGE if options.page is None else options.page, options.data)
    print("\n".join(["every target is met"] if not missed else ["targets missed:", *missed]))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.oracle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help=f"parts to measure, of {', '.join(PARTS)}")
    parser.add_argument("--graphs", type=int, default=10_000, help="graphs in each class")
    parser.add_argument("--seed", type=int, default=0, help="number of the first graph")
    parser.add_argument("--seeds", type=int, default=20, help="how often each planted mistake is looked for")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--data", type=Path, default=DATA, help="where measurements are saved")
    parser.add_argument("--page", type=Path, help=f"what to write instead of {PAGE.relative_to(ROOT)}")
    parser.add_argument("--replay", nargs="+", metavar="CLASS:NUMBER", help="say all about these graphs")
    return parser.parse_args(arguments)


def _measure(name: str, options: argparse.Namespace) -> None:
    """One part, measured and saved."""
    from benchmarks import store
    from tools.oracle.pool import Asked

    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{name}] {text}", file=sys.stderr, flush=True)

    say("starts")
    part = importlib.import_module(f"tools.oracle.{name}")
    measure: Callable[..., Any] = part.measure
    asked = Asked(options.graphs, options.seed, options.seeds, options.jobs)
    data = measure(asked, say)
    store.save(options.data, name, time.monotonic() - start, dataclasses.asdict(asked), data)
    say(f"took {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
