"""The built wheel is complete: installed outside the checkout, it runs the property suite."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by hatchling as pip would."""
    pytest.importorskip("hatchling")
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)], folder)
    return next(folder.glob("*.whl"))


def call(command: list[str], folder: Path, **variables: str) -> str:
    """Run outside the checkout, without what this pytest run put into the environment; returns what it printed."""
    ours = ("PYTEST_", "COV_", "PYTHONPATH", "GRADCHECK_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_wheel_holds_both_packages_the_entry_module_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    own = {
        path.relative_to(ROOT).as_posix() for package in ("gradcheck", "refengine") for path in files(ROOT / package)
    }
    assert {name for name in names if ".dist-info/" not in name} == own | {"pytest_gradcheck.py"}
    assert {"gradcheck/py.typed", "refengine/py.typed"} <= names


def files(package: Path) -> list[Path]:
    """The files of a package that belong into the wheel."""
    return [path for path in package.rglob("*") if path.suffix in (".py", ".pyi", ".typed")]


def test_the_wheel_names_its_entry_point_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist() if ".dist-info" in name
        }
    assert "[pytest11]\npytest_gradcheck = pytest_gradcheck" in texts["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "Apache License" in texts["LICENSE"]


def test_the_installed_wheel_runs_the_suite_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "environment"
    venv.create(target, with_pip=False)
    python = target / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(target)}))
    install = ["install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    call([sys.executable, "-m", "pip", "--python", str(python), *install], tmp_path)
    (site / "libraries.pth").write_text("\n".join(libraries()))
    empty = tmp_path / "empty"
    empty.mkdir()
    where = call(
        [str(python), "-c", "import gradcheck, refengine; print(gradcheck.__file__, refengine.__file__)"], empty
    )
    assert where.split() == [str(site / name / "__init__.py") for name in ("gradcheck", "refengine")]
    printed = call([str(python), "-m", "pytest", "--gradcheck", "--gradcheck-max-examples=5"], empty)
    assert "vjp_matches_numeric" in printed
    assert " passed" in printed


def libraries() -> list[str]:
    """The site-packages of this run, where the dependencies are.

    Named in a .pth file they come after the new environment's own, and no .pth file in them is read: an editable
    install of this checkout stays out of sight.
    """
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
