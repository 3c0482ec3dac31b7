"""A process that is killed while it saves, wherever that is, leaves the old file or the new one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import refengine as re
from tests.docs.documents import ROOT

KILLED_AT_EACH_CALL = """
import os, signal, sys
import refengine as re

path, step = sys.argv[1], 11
re.save({"which": "old", "w": re.zeros(500)}, path)
new = {"which": "new", "w": re.ones(500)}

def killed_after(calls):
    # Save in a child that is killed at that call of a function, in Python or in C; whether it was.
    child = os.fork()
    if not child:
        left = calls
        def count(frame, event, arg):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(count)
        re.save(new, path)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

calls = 0
while killed_after(calls):
    found = re.load(path)
    assert set(found["w"].tolist()) == {1.0 if found["which"] == "new" else 0.0}
    print(found["which"])
    re.save({"which": "old", "w": re.zeros(500)}, path)
    calls += step
assert re.load(path)["which"] == "new"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_save_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED_AT_EACH_CALL, str(path)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (found.returncode, found.stderr) == (0, "")
    seen = Counter(found.stdout.split())
    assert set(seen) == {"old", "new"}
    assert seen["old"] > 50
    assert re.load(path)["which"] == "new"
    left = {name for name in os.listdir(tmp_path) if name != path.name}
    assert all(name.startswith(".x.pt.") and name.endswith(".tmp") for name in left)
