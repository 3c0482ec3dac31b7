"""Write into the README how the failure of its own example prints. `--check` only says whether it is fresh."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- failure: begin[^\n]*-->\n)```text\n.*?```\n(<!-- failure: end -->)", re.DOTALL)
EXAMPLE = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.DOTALL | re.MULTILINE)
SEED = "--gradcheck-seed=0"
"""The same run each time; as an option it stands in the line that says how to see the failure again."""


def printed(files: dict[str, str]) -> str:
    """What ``pytest --gradcheck`` prints of a failure in a folder of these files: no times, versions or other paths."""
    ours = ("PYTEST_", "CI", "BUILD_NUMBER")  # under CI, pytest repeats the whole message in its summary
    variables = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    variables |= {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--gradcheck", SEED]
        done = subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, check=False)
        output = done.stdout.replace(f"{os.path.realpath(folder)}/", "").replace(f"{folder}/", "")
    if done.returncode != 1:
        raise SystemExit(
            f"{', '.join(files)}: expected a failure, got exit status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    failure = output[output.index("= FAILURES") :].split("\n", 1)[1]
    lines = re.sub(r"^=+ gradcheck =+\n.*?(?==+ short test summary)", "", failure, flags=re.DOTALL | re.MULTILINE)
    *lines, last = lines.splitlines()
    # Its time, and the rule whose length depends on it.
    lines.append(re.sub(r" in [\d.]+s.*", "", last.strip("= ")))
    return "\n".join(line.rstrip() for line in lines)


def fresh(readme: str) -> str:
    """The README's text with the failure as it prints now."""
    files = {match[2]: match[1] for match in EXAMPLE.finditer(readme)}
    if not any(name.startswith("test_") for name in files) or PLACE.search(readme) is None:
        raise SystemExit(
            "README.md: expected a python block that starts with '# test_<name>.py', and the failure's two marks"
        )
    block = printed(files)
    return PLACE.sub(lambda place: f"{place[1]}```text\n{block}\n```\n{place[2]}", readme)


def without_estimates(text: str) -> str:
    """The text without error estimates, which another processor's round-off may change in their one digit."""
    return re.sub(r"± \S+", "±", text)


def main() -> None:
    """Write the README, or say that it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the README is stale")
    options = parser.parse_args()
    before = README.read_text(encoding="utf-8")
    after = fresh(before)
    if options.check and without_estimates(after) != without_estimates(before):
        raise SystemExit("README.md: the failure is stale; run `python tools/readme_failure.py`")
    if not options.check:
        README.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
