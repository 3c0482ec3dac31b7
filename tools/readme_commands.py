"""Print the README's shell commands, one a line, so that .ci/run runs what the README says."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def commands(text: str) -> list[str]:
    """The lines of all ``sh`` blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


if __name__ == "__main__":
    print("\n".join(commands(README.read_text(encoding="utf-8"))))
