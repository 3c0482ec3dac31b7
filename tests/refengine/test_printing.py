"""Tensors print as PyTorch prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import refengine as re

Make = Callable[[Any], Any]

CASES: dict[str, Make] = {
    "floats": lambda lib: lib.tensor([0.70710678, 0.70710678]),
    "whole floats": lambda lib: lib.tensor([1.0, 2.0, -3.0]),
    "whole floats with zero": lambda lib: lib.tensor([0.0, 100.0]),
    "a scalar": lambda lib: lib.tensor(2.0),
    "a float64 scalar": lambda lib: lib.tensor(2.0, dtype=lib.float64),
    "a negative scalar": lambda lib: lib.tensor(-0.5),
    "an int scalar": lambda lib: lib.tensor(7),
    "ints": lambda lib: lib.tensor([1, -20, 300]),
    "int32": lambda lib: lib.tensor([1, 2], dtype=lib.int32),
    "uint8": lambda lib: lib.tensor([1, 2], dtype=lib.uint8),
    "bools": lambda lib: lib.tensor([True, False]),
    "half": lambda lib: lib.tensor([1.5, 2.25], dtype=lib.float16),
    "complex": lambda lib: lib.tensor([1 + 2j, -1.5 - 0.25j]),
    "complex128": lambda lib: lib.tensor([[1j, 2.0]], dtype=lib.complex128),
    "a complex scalar": lambda lib: lib.tensor(1 - 1j),
    "a matrix": lambda lib: lib.tensor([[1.0, 2.5], [3.0, -4.0]]),
    "three axes": lambda lib: lib.zeros(2, 2, 3),
    "four axes": lambda lib: lib.ones(2, 1, 2, 2, dtype=lib.int64),
    "nan and infinities": lambda lib: lib.tensor([float("nan"), float("inf"), -float("inf"), 1.5]),
    "only nan": lambda lib: lib.tensor([float("nan"), float("nan")]),
    "whole with nan": lambda lib: lib.tensor([1.0, float("nan"), 20.0]),
    "infinities in float64": lambda lib: lib.tensor([float("-inf"), 3.0], dtype=lib.float64),
    "a wide range": lambda lib: lib.tensor([1e-3, 1e4]),
    "tiny": lambda lib: lib.tensor([1e-7, 2e-7]),
    "huge": lambda lib: lib.tensor([1e9, 2e9]),
    "huge whole range": lambda lib: lib.tensor([1.0, 123456.0]),
    "zeros only": lambda lib: lib.zeros(3),
    "minus zero": lambda lib: lib.tensor([-0.0, 1.5]),
    "empty": lambda lib: lib.zeros(0),
    "empty matrix": lambda lib: lib.zeros(2, 0),
    "empty ints": lambda lib: lib.zeros(0, dtype=lib.int64),
    "empty float64": lambda lib: lib.zeros(0, 3, dtype=lib.float64),
    "a long line": lambda lib: lib.arange(40.0),
    "long ints": lambda lib: lib.arange(100),
    "summarised": lambda lib: lib.arange(1001.0),
    "summarised ints": lambda lib: lib.arange(2000),
    "a summarised matrix": lambda lib: lib.arange(2000.0).reshape(50, 40),
    "a summarised tall matrix": lambda lib: lib.arange(2000).reshape(1000, 2),
    "summarised with three axes": lambda lib: lib.arange(1200.0).reshape(10, 10, 12),
    "exactly the threshold": lambda lib: lib.arange(1000),
    "requires grad": lambda lib: lib.ones(2, requires_grad=True),
    "requires grad in float64": lambda lib: lib.ones(2, dtype=lib.float64, requires_grad=True),
    "grad_fn": lambda lib: lib.ones(2, requires_grad=True) * 2,
    "grad_fn in float64": lambda lib: lib.ones(2, dtype=lib.float64, requires_grad=True).exp(),
    "notes on a new line": lambda lib: lib.full((8,), 0.123456, dtype=lib.float64, requires_grad=True).exp(),
    "a transposed view": lambda lib: lib.arange(6.0).reshape(2, 3).T,
}


@pytest.mark.parametrize("make", CASES.values(), ids=[name.replace(" ", "-") for name in CASES])
def test_it_prints_as_pytorch_does(make: Make) -> None:
    torch = pytest.importorskip("torch")
    assert repr(make(re)) == repr(make(torch)).replace("torch.", "refengine.")


def on_one_line(tensor: Any) -> str:
    """What is printed, with the dtype after the numbers: whether it fits there depends on the package's name."""
    return repr(tensor).replace(",\n       dtype=", ", dtype=")


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    )
)
def test_any_array_prints_as_pytorch_prints_it(values: Any) -> None:
    torch = pytest.importorskip("torch")
    assert on_one_line(re.tensor(values)) == on_one_line(torch.tensor(values)).replace("torch.", "refengine.")


@given(st.lists(st.floats(-1000, 1000).map(lambda x: round(x, 3)), max_size=30))
def test_moderate_floats_print_as_pytorch_prints_them(values: list[float]) -> None:
    torch = pytest.importorskip("torch")
    assert repr(re.tensor(values)) == repr(torch.tensor(values))


def test_the_default_dtype_is_not_printed(default_float64: None) -> None:
    assert repr(re.tensor([1.0])) == "tensor([1.])"
    assert repr(re.tensor([1.0], dtype=re.float32)) == "tensor([1.], dtype=refengine.float32)"


@pytest.fixture
def default_float64() -> Iterator[None]:
    before = re.get_default_dtype()
    re.set_default_dtype(re.float64)
    yield
    re.set_default_dtype(before)


@pytest.fixture
def print_options() -> Iterator[None]:
    yield
    re.set_printoptions(profile="default")


@pytest.mark.usefixtures("print_options")
@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"threshold": 5},
        {"edgeitems": 1, "threshold": 5},
        {"linewidth": 40},
        {"sci_mode": True},
        {"profile": "short"},
    ],
    ids=str,
)
def test_print_options_do_what_they_do_in_pytorch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    re.set_printoptions(**options)
    torch.set_printoptions(**options)
    try:
        for make in (lambda lib: lib.arange(24.0) / 7, lambda lib: lib.arange(24.0).reshape(4, 6)):
            assert repr(make(re)) == repr(make(torch))
    finally:
        torch.set_printoptions(profile="default")


def test_an_unknown_profile_raises() -> None:
    with pytest.raises(TypeError, match="expected a profile of default, short, full, got 'tiny'"):
        re.set_printoptions(profile="tiny")


def test_dtype_device_and_size_print_as_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for make in (
        lambda lib: lib.float64,
        lambda lib: lib.bool,
        lambda lib: lib.device("cpu"),
        lambda lib: lib.zeros(2, 3).shape,
    ):
        assert repr(make(re)) == repr(make(torch)).replace("torch.", "refengine.")
