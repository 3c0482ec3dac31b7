"""The command line: `python -m benchmarks run [--quick] [NAME ...]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from benchmarks import chain, checking
from benchmarks.harness import Benchmark, run

BENCHMARKS: dict[str, Callable[[], Benchmark]] = {"chain": chain.benchmark, "checking": checking.benchmark}
NEEDS_TORCH = ("checking",)
# Read once, when NumPy and PyTorch load their libraries: the process starts over with them set.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def pin_threads() -> None:
    """Start over with one thread everywhere, unless it is so already."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])


def setting() -> str:
    """What was measured on."""
    found = []
    for name in ("numpy", "torch"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return f"Python {platform.python_version()}, {', '.join(found)}, {platform.machine()}, one thread, CPU time"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named benchmarks, or all, and print a table of each."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    command = parser.add_subparsers(required=True).add_parser("run", help="measure and print tables")
    command.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    command.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"NAME: expected one of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    rounds, seconds = (7, 0.1) if options.quick else (31, 0.4)
    print(f"{setting()}; median (10th to 90th percentile) of {rounds} interleaved rounds, ratios paired\n")
    for name in options.names or BENCHMARKS:
        if name in NEEDS_TORCH and find_spec("torch") is None:
            print(f"{name}: skipped, it needs PyTorch (pip install 'torch>=2.4')\n")
            continue
        print(run(BENCHMARKS[name](), rounds=rounds, seconds=seconds).table(), end="\n\n")


if __name__ == "__main__":
    pin_threads()
    main()
