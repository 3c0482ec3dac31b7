"""Judge right functions in half precision, and mistakes made in it alone, and print the figures of docs/oracle.md.

python tools/halves.py [seeds]

Each function of tests/gradcheck/halves.py is called at five magnitudes with each seed. The exit status is 1 if a right
one is called wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gradcheck.engines import registry  # noqa: E402
from gradcheck.verdict import Verdict  # noqa: E402
from tests.gradcheck.halves import MAGNITUDES, RIGHT, WRONG, judged  # noqa: E402

WHERE = (("torch", "float16"), ("torch", "bfloat16"), ("refengine", "float16"))
PLANTED = (0.1, 1.0)
FEWER = 4
"""Mistakes are planted at two magnitudes, with a quarter of the seeds."""


def counted(engine: str, dtype: str, seeds: int, magnitudes: tuple[float, ...], wrong: str = "") -> Counter[Verdict]:
    """How often each verdict comes over all functions."""
    adapter, found = registry.engine(engine), Counter[Verdict]()
    for name in RIGHT:
        for magnitude in magnitudes:
            for seed in range(seeds):
                outcome = judged(adapter, name, dtype, magnitude, seed, wrong)
                found[outcome.verdict] += 1
                if outcome.finding is not None and not wrong:
                    print(f"alarm: {engine} {dtype} {name} {magnitude} {seed}: {outcome.finding.detail}")
    return found


def main(seeds: int) -> int:
    """Print the table; returns the exit status."""
    alarms = 0
    print("| precision | right functions | alarms | inconclusive |", *(f" {kind} |" for kind in WRONG), sep="")
    print("|---|" + "---|" * (3 + len(WRONG)))
    for engine, dtype in WHERE:
        right = counted(engine, dtype, seeds, MAGNITUDES)
        alarms += right[Verdict.DISAGREE]
        cells = [
            f"{engine} {dtype}",
            str(right.total()),
            str(right[Verdict.DISAGREE]),
            str(right[Verdict.INCONCLUSIVE]),
        ]
        for kind in WRONG:
            planted = counted(engine, dtype, max(1, seeds // FEWER), PLANTED, kind)
            cells.append(f"{planted[Verdict.DISAGREE]} of {planted.total()}")
        print("| " + " | ".join(cells) + " |", flush=True)
    return 1 if alarms else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
