"""Measure how fast the engine, the checks, the programs and the plugin are, beside their peers.

    python -m benchmarks run [--only engine,checking] [--data DIRECTORY] [--page FILE]
    python -m benchmarks run --quick

The full run saves each part, so that `--only` runs some again, and writes docs/benchmarks.md from what is saved.
`--quick` ends within three minutes on an idle machine and prints one table of ratios; `--smoke` runs everything once at
tiny sizes, to see that it works. Peers come with `pip install -e '.[benchmarks]'`; all of them are optional.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import Result
from benchmarks.scale import FULL, QUICK, SMOKE, Scale

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
DATA = ROOT / ".gradcheck" / "benchmarks"
PARTS = ("engine", "large", "checking", "programs", "startup")
# Read once, when NumPy and PyTorch load their libraries: the process starts over with them set.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def pin_threads() -> None:
    """Start over with one thread everywhere, unless it is so already."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; then print the table of targets, or write the page."""
    options = _options(arguments)
    asked = options.only.split(",") if options.only else list(PARTS)
    if unknown := sorted(set(asked) - set(PARTS)):
        raise SystemExit(f"--only: expected some of {', '.join(PARTS)}, got {', '.join(unknown)}")
    measured = {name: _measure(name, options.scale, options.data) for name in asked}
    from benchmarks import page

    results = [result for found in measured.values() for result in found]
    if options.scale is FULL:
        page.write(options.page, page.load_all(options.data, PARTS))
    print(f"{page.machine()}. {page.versions()}.\n")
    if options.scale is SMOKE:  # no figure of a tiny size says anything of a target
        print("\n\n".join("\n".join(page.result_table(result)) for result in results))
    else:
        print("\n".join(page.target_table(results)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command = parser.add_subparsers(required=True).add_parser("run", help="measure")
    command.set_defaults(scale=FULL)
    command.add_argument("--quick", dest="scale", action="store_const", const=QUICK, help="what targets need, shorter")
    command.add_argument("--smoke", dest="scale", action="store_const", const=SMOKE, help="everything once, tiny")
    command.add_argument("--only", help=f"parts to measure, of {', '.join(PARTS)}")
    command.add_argument("--data", type=Path, default=DATA, help="where a full run saves what it measured")
    command.add_argument("--page", type=Path, default=PAGE, help="what a full run writes")
    return parser.parse_args(arguments)


def _measure(name: str, scale: Scale, directory: Path) -> list[Result]:
    """One part; saved where it is measured in full."""
    from benchmarks import store

    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{name}, {time.monotonic() - start:.0f} s] {text}", file=sys.stderr, flush=True)

    measure: Callable[[Scale, Callable[[str], None]], list[Result]] = importlib.import_module(
        f"benchmarks.{name}"
    ).measure
    results = measure(scale, say)
    if scale is FULL:
        store.save(directory, name, time.monotonic() - start, {"scale": scale.name}, results)
    return results


if __name__ == "__main__":
    pin_threads()
    main()
