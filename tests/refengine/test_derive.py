"""What derive.py makes of the declarations: methods, in-place methods, operators, properties, functions."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import refengine as re
from refengine import catalogue, derive
from refengine.op import Composite, Op

METHODS = [op for op in catalogue.ops() if op.form == "method"]
INPLACE = [op for op in catalogue.ops() if op.inplace and not isinstance(op, Composite)]


@pytest.mark.parametrize("op", METHODS, ids=lambda op: op.name)
def test_every_method_is_there_with_its_documentation(op: Op) -> None:
    for name in (op.name, *op.aliases):
        found = vars(derive.TensorMethods).get(name)
        assert found is not None
        assert getattr(found, "fget", found).__doc__


@pytest.mark.parametrize("op", INPLACE, ids=lambda op: op.name)
def test_every_inplace_form_is_there(op: Op) -> None:
    for name in (op.name, *op.aliases):
        assert callable(getattr(re.Tensor, f"{name}_" if not name.startswith("__") else name))


@pytest.mark.parametrize(
    "table", [derive.OPERATORS, derive.REFLECTED, derive.INPLACE], ids=["plain", "reflected", "in-place"]
)
def test_every_operator_belongs_to_an_op(table: dict[str, str]) -> None:
    names = {op.name for op in catalogue.ops()}
    assert {source for source in table.values() if source not in names} == set()


def test_operators_are_pytorchs(lib: Any) -> None:
    x, y = lib.tensor([5.0, -7.0]), lib.tensor([2.0, 3.0])
    found = [x + y, x - y, x * y, x / y, y**2, x % y, x // y, -x, abs(x), x @ y]
    expected = [[7, -4], [3, -10], [10, -21], [2.5, -7 / 3], [4, 9], [1, 2], [2, -3], [-5, 7], [5, 7], -11]
    for mine, reference in zip(found, expected, strict=True):
        assert mine.tolist() == pytest.approx(reference)


def test_numbers_may_stand_first(lib: Any) -> None:
    x = lib.tensor([2.0, 4.0])
    found = [1 + x, 1 - x, 3 * x, 8 / x, 2**x, 7 % x, 9 // x]
    expected = [[3, 5], [-1, -3], [6, 12], [4, 2], [4, 16], [1, 3], [4, 2]]
    for mine, reference in zip(found, expected, strict=True):
        assert mine.tolist() == reference


def test_comparisons_give_bools(lib: Any) -> None:
    x = lib.tensor([1.0, 2.0])
    found = [x == 1, x != 1, x < 2, x <= 1, x > 1, x >= 2]
    assert [y.tolist() for y in found] == [[a, not a] for a in (True, False, True, True, False, False)]
    assert all(y.dtype is lib.bool for y in found)


def test_logic_works_on_bools(lib: Any) -> None:
    a, b = lib.tensor([True, True, False]), lib.tensor([True, False, False])
    assert [(a & b).tolist(), (a | b).tolist(), (a ^ b).tolist(), (~a).tolist()] == [
        [True, False, False],
        [True, True, False],
        [False, True, False],
        [False, False, True],
    ]


def test_logic_on_integers_is_bitwise(lib: Any) -> None:
    a, b = lib.tensor([6, 5]), lib.tensor([3, 4])
    assert [(a & b).tolist(), (a | b).tolist(), (a ^ b).tolist(), (~a).tolist()] == [[2, 4], [7, 5], [5, 1], [-7, -6]]


def test_augmented_assignment_writes_in_place(lib: Any) -> None:
    x = lib.tensor([8.0, 2.0])
    same = x
    x += 1
    x *= 2
    x -= 2
    x /= 4
    assert x is same
    assert x.tolist() == [4.0, 1.0]
    assert x._version == 4


def test_augmented_assignment_is_recorded(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    y = x * 3
    y *= 3
    y.sum().backward()
    assert x.grad.tolist() == [9.0, 9.0]


def test_items_are_read_and_written(lib: Any) -> None:
    x = lib.arange(6.0).reshape(2, 3)
    assert x[1, 2].item() == 5.0
    x[0, 1:] = 9.0
    x[1, 0] = lib.tensor(7.0)
    assert x.tolist() == [[0.0, 9.0, 9.0], [7.0, 4.0, 5.0]]


def test_properties_are_views(lib: Any) -> None:
    x = lib.arange(6.0).reshape(2, 3)
    assert x.T.tolist() == x.mT.tolist() == x.H.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert x.T.data_ptr() == x.mT.data_ptr() == x.data_ptr()


def test_the_conjugate_transpose_conjugates(lib: Any) -> None:
    x = lib.tensor([[1 + 2j, 3.0]])
    assert x.H.tolist() == x.mH.tolist() == [[1 - 2j], [3.0]]


def test_names_tell_what_was_called() -> None:
    assert re.Tensor.sum.__qualname__ == "Tensor.sum"
    assert re.Tensor.exp_.__name__ == "exp_"
    assert re.cat.__name__ == "cat"


def test_signatures_are_spelled_as_in_pytorch() -> None:
    assert str(inspect.signature(re.exp)) == "(input: 'Tensor') -> 'Tensor'"
    assert list(inspect.signature(re.Tensor.sum).parameters) == ["input", "dim", "keepdim", "dtype"]
    assert list(inspect.signature(re.Tensor.add_).parameters) == ["input", "other", "alpha"]
    assert list(inspect.signature(re.cat).parameters) == ["tensors", "dim"]
    assert list(inspect.signature(re.nn.functional.nll_loss).parameters)[:3] == ["input", "target", "weight"]


def test_the_documentation_is_the_declarations() -> None:
    assert re.Tensor.exp.__doc__ == catalogue.get("exp").__doc__
    assert re.sum.__doc__ == catalogue.get("sum").__doc__
