"""Elementwise ops are PyTorch's: values, gradients, second order, in-place forms, dtypes, special values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from refengine.errors import DTypeError, ShapeError
from tests.refengine.support import (
    Constant,
    agree,
    both_raise,
    case,
    close,
    layouts,
    normal,
    ours,
    theirs,
    torch,
    unique,
)

X = normal(3, 4)
POSITIVE = np.abs(X) + 0.5
UNIT = np.tanh(X) * 0.9
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 20.0, -20.0, 90.0, -90.0, 800.0, -800.0, np.inf, -np.inf, np.nan]
)
DOMAINS = {
    POSITIVE.tobytes(): ("log", "log2", "log10", "sqrt", "rsqrt", "lgamma", "digamma", "reciprocal"),
    UNIT.tobytes(): ("asin", "acos", "atanh", "log1p"),
    (POSITIVE + 1).tobytes(): ("acosh",),
    X.tobytes(): (
        "neg",
        "abs",
        "sign",
        "exp",
        "expm1",
        "square",
        "sin",
        "cos",
        "tan",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "erf",
        "erfc",
        "floor",
        "ceil",
        "round",
        "trunc",
        "frac",
    ),
}
UNARY = [case(name, np.frombuffer(values).reshape(3, 4).copy()) for values, names in DOMAINS.items() for name in names]
ALL_UNARY = [name for names in DOMAINS.values() for name in names]
LENIENT = {
    "lgamma": SPECIAL[2:8:2],
    "digamma": SPECIAL[2:8:2],  # poles, and no value far left: SciPy and PyTorch differ there
    "acosh": SPECIAL[[2, 6, 7, 9, 11]],
    "abs": SPECIAL[:15],
    "sign": SPECIAL[:15],  # outside the domain; NaN stays NaN with us
    "round": SPECIAL[:13],
    "floor": SPECIAL[:13],
    "ceil": SPECIAL[:13],
    "trunc": SPECIAL[:13],
    "frac": SPECIAL[:13],
}
BINARY = [
    case(name, *operands, **kwargs)
    for name, domain, kwargs in (
        ("add", X, {}),
        ("sub", X, {}),
        ("mul", X, {}),
        ("div", POSITIVE, {}),
        ("maximum", X, {}),
        ("minimum", X, {}),
        ("add", X, {"alpha": 2.5}),
        ("sub", X, {"alpha": -2}),
        ("atan2", POSITIVE, {}),
        ("hypot", POSITIVE, {}),
        ("logaddexp", X, {}),
        ("pow", POSITIVE, {}),
        ("remainder", POSITIVE, {}),
        ("fmod", POSITIVE, {}),
        ("xlogy", POSITIVE, {}),
    )
    for operands in (
        (domain, domain * 1.7 + 0.1),
        (domain, domain[0]),
        (domain[:, :1], domain[:1]),
        (domain, np.array(1.25)),
        (np.array(0.75), domain),
        (domain[:0], domain[:1]),
    )
]
NUMBERS = [
    case(name, POSITIVE, y)
    for name in ("add", "sub", "mul", "div", "pow", "remainder", "fmod", "xlogy")
    for y in (2, 2.5, -1.5)
]
POWERS = [
    *(case("pow", np.array([0.0, 1.0, 2.0, -2.0, 0.5]), y) for y in (0, 1, 2, 3, 0.0, 1.0, 2.0, -1, -2.0)),
    *(case("pow", np.array([0.0, 1.0, 2.0, 0.5]), y) for y in (0.5, 2.5, -0.5)),
    case("pow", np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 2.0, 0.0, 3.0])),
    case("pow", np.array([0.0, -2.0, -1.0]), np.array([1.0, 2.0, 3.0])),
]
TERNARY = [
    case("lerp", X, X * 2 + 1, 0.25),
    case("lerp", X, X[0], X[1]),
    case("lerp", X, X * 2, 0.75),
    case("addcmul", X, X[0], X[:, :1]),
    case("addcmul", X, X, X * 2, value=-1.5),
    case("addcdiv", X, X[0], POSITIVE),
    case("addcdiv", X, X, POSITIVE, value=0.5),
]
TIES = [case(name, np.array([1.0, 2.0, 0.0]), np.array([1.0, 1.0, 0.0])) for name in ("maximum", "minimum")]
LOGS = [case("xlogy", np.array([0.0, 0.0, 0.0, 1.0, np.nan]), np.array([0.0, -1.0, np.nan, 0.0, 1.0]))]


@pytest.mark.parametrize(("name", "args", "kwargs"), unique(UNARY, BINARY, NUMBERS, TERNARY, TIES))
def test_value_gradient_and_second_order_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, second=True, within=1e-9, **kwargs)


@pytest.mark.parametrize(("name", "args", "kwargs"), unique(POWERS, LOGS))
def test_edges_of_powers_and_logarithms_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, **kwargs)


@pytest.mark.parametrize("name", ALL_UNARY)
def test_special_values_are_those_of_pytorch(name: str) -> None:
    agree(name, LENIENT.get(name, SPECIAL), within=1e-9)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum", "atan2", "logaddexp"])
def test_pairs_of_special_values_are_those_of_pytorch(name: str) -> None:
    if name in ("atan2", "logaddexp", "div"):
        agree(name, Constant(SPECIAL[:, None]), Constant(SPECIAL))
    else:
        agree(name, SPECIAL[:, None], SPECIAL)


@pytest.mark.parametrize("name", ALL_UNARY)
def test_zero_dimensional_and_empty_tensors_keep_their_shape(name: str) -> None:
    agree(name, np.array(1.25) if name == "acosh" else np.array(0.75), within=1e-9)
    agree(name, np.zeros((0, 3)))


@pytest.mark.parametrize(
    "name", [*ALL_UNARY, "add", "mul", "div", "pow", "atan2", "hypot", "lerp", "addcmul", "addcdiv"]
)
def test_strides_do_not_matter(name: str) -> None:
    more = {"lerp": 2, "addcmul": 2, "addcdiv": 2, **dict.fromkeys(("add", "mul", "div", "pow", "atan2", "hypot"), 1)}
    base = {"acosh": POSITIVE + 1, "asin": UNIT, "acos": UNIT, "atanh": UNIT}.get(name, POSITIVE)
    for x in layouts(base):
        agree(name, x, *[x.copy()] * more.get(name, 0), within=1e-9)


@pytest.mark.parametrize(
    "name", [op.name for op in refengine.catalogue.ops() if op.inplace and op.rules and op.group == "elementwise"]
)
def test_in_place_form_has_pytorchs_value_and_gradient(name: str) -> None:
    x = POSITIVE + 1 if name == "acosh" else UNIT
    if name in (
        "log",
        "log2",
        "log10",
        "sqrt",
        "rsqrt",
        "lgamma",
        "digamma",
        "pow",
        "hypot",
        "atan2",
        "xlogy",
        "reciprocal",
    ):
        x = POSITIVE
    count = len(ours(name).inputs) - 1
    agree(name, x, *[POSITIVE + i for i in range(count)], inplace=True, within=1e-9)


def test_every_in_place_form_writes_into_its_tensor() -> None:
    x = refengine.tensor([0.25, 0.5])
    for op in refengine.catalogue.ops():
        if op.inplace and op.group == "elementwise" and len(op.inputs) == 1:
            y = x.clone()
            with np.errstate(all="ignore"):
                assert getattr(y, f"{op.name}_")() is y
            assert y._version == 1


DTYPES = ("bool", "uint8", "int32", "int64", "float32", "float64", "complex64", "complex128")


def _values(dtype: str) -> Any:
    return np.array([1, 2, 3]).astype(dtype)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "maximum", "remainder", "atan2", "xlogy"])
@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", [*DTYPES, "int", "float", "complex", "0-d float64", "0-d int64"])
def test_dtype_of_the_result_is_pytorchs_or_both_refuse(name: str, first: str, second: str) -> None:
    python = {
        "int": 2,
        "float": 2.5,
        "complex": 2 + 1j,
        "0-d float64": Constant(np.array(2.5)),
        "0-d int64": Constant(np.array(2)),
    }
    y = python.get(second) or Constant(_values(second))
    x = Constant(_values(first))
    sides = []
    for library, call in ((refengine, ours(name)), (torch, theirs(name))):
        given = [library.from_numpy(v.values) if isinstance(v, Constant) else v for v in (x, y)]
        try:
            sides.append(call(*given))
        except Exception as error:
            sides.append(error)
    mine, their = sides
    if isinstance(their, Exception):
        return
    assert not isinstance(mine, Exception), mine
    close(mine, their, f"{name} of {first} and {second}", rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["neg", "abs", "exp", "sqrt", "square", "reciprocal", "floor", "conj", "real", "angle"]
)
def test_dtype_of_one_input_is_pytorchs(name: str, dtype: str) -> None:
    x = _values(dtype)
    try:
        their = theirs(name)(torch.from_numpy(x)) if name != "real" else torch.from_numpy(x).real
    except Exception:
        return
    close(ours(name)(refengine.from_numpy(x)), their, f"{name} of {dtype}", rtol=1e-6)


COMPLEX = normal(3) + 1j * normal(3, seed=7)


@pytest.mark.parametrize(
    "name", ["neg", "exp", "log", "sqrt", "sin", "cosh", "tanh", "square", "reciprocal", "abs", "conj", "angle"]
)
def test_complex_gradients_follow_pytorchs_convention(name: str) -> None:
    agree(name, COMPLEX, within=1e-9)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow"])
def test_complex_pairs_follow_pytorchs_convention(name: str) -> None:
    agree(name, COMPLEX, COMPLEX[::-1] * 0.5 + 1, within=1e-9)
    agree(name, COMPLEX, np.array([1.0, 2.0, 0.5]), within=1e-9)


def test_parts_of_complex_numbers_are_views_with_gradients() -> None:
    for part in ("real", "imag"):
        grads = []
        for library in (refengine, torch):
            z = library.from_numpy(COMPLEX.copy()).requires_grad_()
            (getattr(z * 2, part) * library.from_numpy(normal(3))).sum().backward()
            grads.append(np.asarray(z.grad.numpy()))
        np.testing.assert_allclose(*grads, rtol=1e-12)
    x = refengine.from_numpy(COMPLEX.copy())
    assert x.real.data_ptr() == x.data_ptr()
    assert refengine.ones(2).real.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_integer_division_by_zero_raises(name: str) -> None:
    both_raise(name, RuntimeError, Constant(np.array([1, 2])), Constant(np.array([1, 0])))


@pytest.mark.parametrize("y", [2, -2, 2.5, Constant(np.array([2.0, -3.0, 0.5]))], ids=str)
def test_floor_divide_rounds_down(y: Any) -> None:
    agree("floor_divide", Constant(np.array([5.0, -5.0, 0.75])), y)
    agree("floor_divide", Constant(np.array([5, -5, 3])), y)


def test_shapes_that_do_not_broadcast_raise() -> None:
    both_raise("add", ShapeError, X, normal(3))


def test_an_integer_tensor_does_not_take_a_floating_result() -> None:
    both_raise("add", DTypeError, Constant(np.array([1, 2])), 0.5, inplace=True)
    both_raise("exp", DTypeError, Constant(np.array([1, 2])), inplace=True)
    both_raise("div", DTypeError, Constant(np.array([1, 2])), 2, inplace=True)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_small_floats_keep_their_dtype_with_numbers(dtype: str) -> None:
    for name in ("add", "mul", "div", "pow"):
        agree(name, Constant(_values(dtype)), 1.5, within=1e-3)
        agree(name, Constant(_values(dtype)), Constant(np.array(1.5)), within=1e-3)


def test_the_mixed_second_derivative_of_pow_is_right_at_exponent_0() -> None:
    """It is 1/x there; PyTorch 2.13 gives 0."""
    x = refengine.tensor(4.0, dtype=refengine.float64, requires_grad=True)
    y = refengine.tensor(0.0, dtype=refengine.float64, requires_grad=True)
    (slope,) = refengine.autograd.grad(x**y, x, create_graph=True)
    (mixed,) = refengine.autograd.grad(slope, y)
    assert mixed is not None
    assert (slope.item(), mixed.item()) == (0.0, 0.25)
