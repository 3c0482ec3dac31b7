"""Where a function stands: its file, as seen from here, and the line of its ``def``."""

from __future__ import annotations

import linecache
import os
import re
from types import CodeType

# Decorators of one function, with their arguments over several lines, and comments between them.
_MOST_LINES = 50


def place_of(code: CodeType) -> str:
    """``pkg/ops.py:41``: the line that says ``def``, which its decorators stand above."""
    path, first = code.co_filename, code.co_firstlineno
    is_def = re.compile(rf"\s*(async\s+)?def\s+{re.escape(code.co_name)}\b").match
    lines = (n for n in range(first, first + _MOST_LINES) if is_def(linecache.getline(path, n)))
    return f"{path.removeprefix(os.getcwd() + os.sep)}:{next(lines, first)}"
