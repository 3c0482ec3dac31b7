"""The package's face: PyTorch's names are there, and importing it is cheap and order-free."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import refengine as re
from refengine import catalogue

MODULES = sorted(
    path.relative_to(Path(re.__file__).parent.parent)
    .with_suffix("")
    .as_posix()
    .replace("/", ".")
    .removesuffix(".__init__")
    for path in Path(re.__file__).parent.rglob("*.py")
)
OURS = {"copy", "zero"}
"""Ops that PyTorch has in place only, as `copy_` and `zero_`."""


def test_every_op_is_a_function_under_its_names() -> None:
    for op in catalogue.ops():
        if not op.name.startswith("_"):
            for name in (op.name, *op.aliases):
                assert callable(getattr(re, name))


def test_every_function_is_known_to_pytorch() -> None:
    torch = pytest.importorskip("torch")
    places = (torch, torch.Tensor, torch.nn.functional)
    names = {name for op in catalogue.ops() if not op.name.startswith("_") for name in (op.name, *op.aliases)}
    assert {name for name in names if not any(hasattr(place, name) for place in places)} == OURS


def test_every_public_name_is_one_of_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours = {name for name, value in vars(re).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    places = (torch, torch.Tensor, torch.nn.functional)
    assert {n for n in ours - {"annotations"} if not any(hasattr(place, n) for place in places)} == OURS


def test_every_module_can_be_imported() -> None:
    for module in MODULES:
        importlib.import_module(module)


def test_importing_the_engine_imports_no_scipy_and_no_test_tool() -> None:
    probe = "import sys, refengine; print([m for m in ('scipy', 'hypothesis', 'pytest', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_functions_take_pytorchs_names_of_their_inputs(lib: Any) -> None:
    x, y = lib.tensor([4.0]), lib.tensor([3.0])
    assert lib.exp(input=lib.zeros(1)).tolist() == [1.0]
    assert lib.sub(input=x, other=y).tolist() == [1.0]
    assert x.sub(other=y).tolist() == [1.0]
    assert lib.where(x > 0, input=x, other=y).tolist() == [4.0]
    assert lib.cat(tensors=[x, y], dim=0).tolist() == [4.0, 3.0]
    assert lib.sum(input=x, dim=0).item() == 4.0
    assert lib.nn.functional.mse_loss(input=x, target=y).item() == 1.0
    assert lib.nn.functional.softmin(input=x, dim=0).tolist() == [1.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, x: lib.exp(x, 3),
        lambda lib, x: lib.exp(x, base=3),
        lambda lib, x: lib.exp(),
        lambda lib, x: lib.mul(x),
        lambda lib, x: x.sum(axes=0),
        lambda lib, x: lib.cat(),
        lambda lib, x: lib.cat(3),
    ],
    ids=["surplus", "keyword", "missing", "missing-second", "unknown-keyword", "no-tensors", "no-sequence"],
)
def test_wrong_arguments_raise_a_type_error(lib: Any, call: Any) -> None:
    with pytest.raises(TypeError):
        call(lib, lib.ones(2))
