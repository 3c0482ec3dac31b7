"""The registry of engines: names, recognition without imports, one clear line for bad input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gradcheck.engines.registry import Engines, default_engines, engine, recognise
from gradcheck.failures import UsageError


def test_unknown_engine_names_the_nearest():
    with pytest.raises(UsageError, match="unknown 'trch'; did you mean torch"):
        engine("trch")


def test_unknown_engine_without_a_near_name_lists_all():
    with pytest.raises(UsageError, match="known are refengine, torch"):
        engine("zzz")


def test_engine_that_is_not_installed_says_how_to_install_it():
    engines = Engines()
    engines.register("none", "no_such_library", lambda device: None, "pip install 'pytest-gradcheck[none]'")
    with pytest.raises(UsageError, match=r"pip install 'pytest-gradcheck\[none\]'"):
        engines.engine("none")


def test_a_second_engine_of_the_same_name_raises():
    with pytest.raises(UsageError, match="registered already"):
        default_engines().register("torch", "torch", lambda device: None)


def test_recognise_finds_the_engine_of_a_tensor():
    torch = pytest.importorskip("torch")
    found = recognise([1.0, "text", torch.ones(2)])
    assert (found.name, found.device) == ("torch", "cpu")


def test_recognise_finds_nothing_in_arrays():
    assert recognise([np.ones(2), 3]) is None


def test_recognise_imports_nothing():
    program = (
        "import sys; from gradcheck.engines.registry import recognise; recognise([1.0]);"
        "print(sorted({'torch', 'refengine', 'hypothesis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
