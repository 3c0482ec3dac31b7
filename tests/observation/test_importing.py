"""Being called back after a module has been imported by somebody else."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from gradcheck.observation.importing import Awaited

NAME = "awaited_for_the_test"


@pytest.fixture(name="module_file")
def _module_file(tmp_path, monkeypatch):
    file = tmp_path / f"{NAME}.py"
    file.write_text("value = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield file
    sys.modules.pop(NAME, None)


def test_the_callback_comes_after_the_body(module_file):
    seen = []
    awaited = Awaited(NAME, lambda module: seen.append(module.value))
    awaited.start()
    assert seen == []
    module = importlib.import_module(NAME)
    assert seen == [3]
    assert awaited not in sys.meta_path
    assert inspect.getsource(module) == "value = 3\n"
    assert "exec_module" not in vars(module.__spec__.loader)


def test_a_module_that_is_loaded_is_given_at_once(module_file):
    importlib.import_module(NAME)
    seen = []
    Awaited(NAME, lambda module: seen.append(module.value)).start()
    assert seen == [3]


def test_after_stopping_nothing_comes(module_file):
    seen = []
    awaited = Awaited(NAME, seen.append)
    awaited.start()
    awaited.stop()
    importlib.import_module(NAME)
    assert seen == []


def test_two_may_wait_for_one_module(module_file):
    seen = []
    waiting = [Awaited(NAME, lambda module, i=i: seen.append(i)) for i in range(2)]
    for awaited in waiting:
        awaited.start()
    importlib.import_module(NAME)
    assert sorted(seen) == [0, 1]
    assert not any(awaited in sys.meta_path for awaited in waiting)


def test_an_import_that_fails_may_be_tried_again(module_file):
    module_file.write_text("raise ValueError('not yet')\n")
    seen = []
    awaited = Awaited(NAME, seen.append)
    awaited.start()
    with pytest.raises(ValueError, match="not yet"):
        importlib.import_module(NAME)
    module_file.write_text("value = 'longer than before'\n")
    importlib.invalidate_caches()
    importlib.import_module(NAME)
    assert len(seen) == 1


def test_observing_never_imports_torch():
    script = """
import sys
from pathlib import Path
from gradcheck.observation.observer import Observer
from gradcheck.observation.territory import Territory
observer = Observer(Territory(Path.cwd(), ()))
observer.start()
import refengine
class F(refengine.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2
F.__module__ = "test_module"
print(F.apply(refengine.ones(2)).tolist(), observer.known(), observer.gradcheck_calls())
observer.stop()
assert "torch" not in sys.modules
assert not any(type(f).__module__.startswith("gradcheck") for f in sys.meta_path)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("[2.0, 2.0]")
