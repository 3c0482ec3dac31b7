"""Files that a run writes: whole or not at all, and those of its own in a directory that version control ignores."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

DIRECTORY = ".gradcheck"
"""Where a run keeps what it found, under the root directory."""


def write(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it meanwhile sees the old text or the new one.

    Raises
    ------
    OSError
        Where nothing can be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        _as_usual(Path(name), path)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _as_usual(made: Path, path: Path) -> None:
    """Give a temporary file, which only its owner may read, the rights of the one it replaces, or the usual ones."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    made.chmod(mode)


def own(directory: Path) -> Path:
    """Make a directory of ours; it carries its own .gitignore. Returns it.

    Raises
    ------
    OSError
        Where it cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ignore = directory / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# Made by pytest-gradcheck.\n*\n", encoding="utf-8")
    return directory


def script_name(name: str, code: str) -> str:
    """The file of the script that shows a failure: ``pkg.ops.RowMax-GC101.py``."""
    readable = re.sub(r"[^\w.]+", "-", name.replace(":", ".").replace(".<locals>", "")).strip("-.")
    return f"{readable}-{code}.py"
