"""Whose code a class is."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from gradcheck.observation.territory import Territory

SOURCE = """
class F:
    def forward(ctx, x):
        return x
"""


@pytest.fixture(name="made_in")
def _made_in(monkeypatch):
    """Gives a function that makes a class whose module lies in a file."""

    def make(path, name="made_for_the_test"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE)
        module = types.ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(SOURCE, str(path), "exec"), vars(module))
        return module.F

    return make


@pytest.mark.parametrize("place", ["ops.py", "pkg/deep/ops.py", "tests/test_x.py", "src/site/ops.py"])
def test_what_lies_under_the_root_is_the_users(tmp_path, made_in, place):
    assert Territory(tmp_path, ()).owns(made_in(tmp_path / place))


def test_what_lies_elsewhere_is_not(tmp_path, made_in):
    root = tmp_path / "root"
    root.mkdir()
    assert not Territory(root, ()).owns(made_in(tmp_path / "root2" / "ops.py"))


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
def test_an_environment_under_the_root_is_foreign(tmp_path, made_in, mark):
    (tmp_path / ".venv" / mark).parent.mkdir(parents=True)
    (tmp_path / ".venv" / mark).touch()
    assert not Territory(tmp_path, ()).owns(made_in(tmp_path / ".venv/src/ops.py"))


@pytest.mark.parametrize("name", ["site-packages", "dist-packages", ".gradcheck"])
def test_installed_packages_and_our_scripts_under_the_root_are_foreign(tmp_path, made_in, name):
    assert not Territory(tmp_path, ()).owns(made_in(tmp_path / "lib" / name / "ops.py"))


def test_a_root_inside_an_environment_owns_its_code(tmp_path, made_in):
    (tmp_path / "pyvenv.cfg").touch()
    root = tmp_path / "lib" / "site-packages" / "project"
    function = made_in(root / "ops.py")
    assert Territory(root, ()).owns(function)
    (root / "pyvenv.cfg").touch()
    assert Territory(root, ()).owns(function)


def test_a_named_package_is_the_users_wherever_it_lies(tmp_path, made_in):
    file = tmp_path / "site-packages" / "ops.py"
    root = tmp_path / "root"
    root.mkdir()
    territory = Territory(root, ("theirs",))
    assert territory.owns(made_in(file, "theirs"))
    assert territory.owns(made_in(file, "theirs.deep"))
    assert not territory.owns(made_in(file, "theirs_not"))


def test_a_class_without_a_module_is_judged_by_its_code(tmp_path, made_in):
    function = made_in(tmp_path / "ops.py")
    del sys.modules["made_for_the_test"]
    assert Territory(tmp_path, ()).owns(function)
    assert not Territory(tmp_path / "root", ()).owns(function)


def test_a_class_typed_at_a_prompt_is_nobodys(tmp_path):
    space = {"__name__": "no_such_module"}
    exec(compile(SOURCE, "<stdin>", "exec"), space)
    assert not Territory(tmp_path, ()).owns(space["F"])


def test_a_link_to_the_users_code_counts_as_the_users(tmp_path, made_in):
    function = made_in(tmp_path / "real" / "ops.py")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert Territory(tmp_path / "linked", ()).owns(function)


def test_an_engines_own_functions_are_not_the_users_under_its_own_root():
    from pathlib import Path

    import refengine

    root = Path(refengine.__file__).parents[1]
    territory = Territory(root, ())
    assert not territory.owns(refengine.autograd.Function)
    assert not territory.owns(Territory)
    assert territory.owns(_Own)


def test_torchs_own_functions_are_not_the_users(tmp_path):
    torch = pytest.importorskip("torch")
    from pathlib import Path

    root = Path(torch.__file__).parents[1]
    assert not Territory(root, ()).owns(torch.autograd.Function)
    assert not Territory(root.parent, ()).owns(torch.autograd.Function)


class _Own:
    """Lies in this repository, beside the engines."""

    value = np.float64
