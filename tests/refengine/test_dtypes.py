"""Dtypes and their promotion, against PyTorch's."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest

import refengine as re
from refengine import dtypes
from refengine.errors import DTypeError

NAMES = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128")
NUMBERS = (True, 3, 2.5, 1.5j)


def unknown_here(*names: str) -> bool:
    """Whether PyTorch's answer would be complex32, which the engine has not."""
    return "float16" in names and bool({"complex64", "complex128", "complex"} & set(names))


def named(dtype: Any) -> str:
    """A dtype's name without its package."""
    return str(dtype).partition(".")[2]


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_tensors_promote_as_in_pytorch(first: str, second: str) -> None:
    torch = pytest.importorskip("torch")
    expected = torch.promote_types(getattr(torch, first), getattr(torch, second))
    assert named(re.promote_types(getattr(re, first), getattr(re, second))) == named(expected)


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_zero_dimensional_tensors_raise_only_the_category(first: str, second: str) -> None:
    torch = pytest.importorskip("torch")
    if unknown_here(first, second):
        assert re.result_type(re.ones(2, dtype=re.float16), re.ones((), dtype=re.complex64)) is re.complex64
        return
    found = []
    for lib in (re, torch):
        a, b = lib.ones(2, dtype=getattr(lib, first)), lib.ones((), dtype=getattr(lib, second))
        found.append((named(lib.result_type(a, b)), named((a * b).dtype), named((b * a).dtype)))
    assert found[0] == found[1]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("name", NAMES)
def test_numbers_raise_only_the_category(name: str, number: Any) -> None:
    torch = pytest.importorskip("torch")
    if unknown_here(name, type(number).__name__):
        assert (re.ones(2, dtype=re.float16) * number).dtype is re.complex64
        return
    found = []
    for lib in (re, torch):
        x = lib.ones(2, dtype=getattr(lib, name))
        found.append((named(lib.result_type(x, number)), named((x * number).dtype), named((number * x).dtype)))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_division_and_functions_give_floats(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (re, torch):
        x = lib.ones(2, dtype=getattr(lib, name))
        found.append([named(y.dtype) for y in (x / x, x.exp(), x.sum())])
    assert found[0] == found[1]


def test_numpys_scalars_count_as_numbers() -> None:
    x = re.ones(2)
    for y in (x * np.float64(2), np.float64(2) * x, re.mul(x, np.float64(2)), x * np.int64(2), np.float32(2) * x):
        assert y.dtype is re.float32
        assert y.tolist() == [2.0, 2.0]


def test_a_dtype_is_one_object() -> None:
    for dtype in dtypes.ALL:
        assert copy.deepcopy(dtype) is dtype
        assert pickle.loads(pickle.dumps(dtype)) is dtype
        assert dtypes.of(dtype.numpy) is dtype
        assert dtypes.of(dtype.name) is dtype


def test_properties_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for name in NAMES:
        ours, theirs = getattr(re, name), getattr(torch, name)
        expected = (theirs.is_floating_point, theirs.is_complex, theirs.itemsize)
        assert (ours.is_floating_point, ours.is_complex, ours.itemsize) == expected


def test_the_aliases_are_pytorchs(lib: Any) -> None:
    assert (lib.double, lib.float, lib.half) == (lib.float64, lib.float32, lib.float16)
    assert (lib.long, lib.int) == (lib.int64, lib.int32)
    assert (lib.cdouble, lib.cfloat) == (lib.complex128, lib.complex64)


@pytest.mark.parametrize("value", [None, "quaternion", np.dtype("int16"), np.dtype(">f8"), object], ids=str)
def test_an_unknown_dtype_raises(value: Any) -> None:
    with pytest.raises(DTypeError, match="dtype: expected one of float64"):
        dtypes.of(value)


def test_promotion_does_not_depend_on_the_order() -> None:
    for a, b in itertools.product(dtypes.ALL, repeat=2):
        assert dtypes.promote(a, b) is dtypes.promote(b, a)


def test_only_floating_and_complex_tensors_require_grad(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="(?i)floating"):
        lib.ones(1, dtype=lib.int64).requires_grad_()
    assert lib.ones(1, dtype=lib.complex64).requires_grad_().requires_grad
