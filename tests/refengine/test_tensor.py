"""What a tensor tells of itself, and how it becomes Python's and NumPy's values."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import refengine as re


def test_the_first_example_of_the_documentation() -> None:
    seen: list[Any] = []
    a = re.ones(2, requires_grad=True)
    b = a * 2
    b.retain_grad()
    b.register_hook(seen.append)
    c = b.norm()
    c.backward()
    assert repr(b.grad) == "tensor([0.7071, 0.7071])"
    assert [repr(grad) for grad in seen] == ["tensor([0.7071, 0.7071])"]
    assert repr(b.grad_fn).startswith("<MulBackward0 object at 0x")
    assert repr(a.grad) == "tensor([1.4142, 1.4142])"


def test_metadata_is_pytorchs(lib: Any) -> None:
    x = lib.zeros(2, 3, dtype=lib.float64)
    assert (x.ndim, x.dim(), x.numel(), x.itemsize, x.element_size(), x.nbytes) == (2, 2, 6, 8, 8, 48)
    assert (x.size(), x.size(0), x.size(-1)) == ((2, 3), 2, 3)
    assert (x.stride(), x.stride(0), x.stride(-1)) == ((3, 1), 3, 1)
    assert x.is_floating_point()
    assert not x.is_complex()
    assert lib.is_tensor(x)
    assert not lib.is_tensor(3)
    assert lib.numel(x) == 6


def test_axes_out_of_range_raise(lib: Any) -> None:
    with pytest.raises(IndexError, match="Dimension out of range"):
        lib.zeros(2).size(1)


def test_single_values_become_python_numbers(lib: Any) -> None:
    x = lib.tensor([2.5])
    assert (x.item(), float(x), int(x), bool(x), complex(x)) == (2.5, 2.5, 2, True, 2.5 + 0j)
    assert type(lib.tensor(True).item()) is bool
    assert type(lib.tensor(3).item()) is int
    assert [10, 20, 30][lib.tensor(1)] == 20


def test_several_values_do_not(lib: Any) -> None:
    with pytest.raises(RuntimeError):
        lib.zeros(2).item()
    with pytest.raises(RuntimeError):
        bool(lib.zeros(2))


def test_only_integers_can_be_an_index(lib: Any) -> None:
    with pytest.raises(TypeError):
        [1, 2][lib.tensor(1.0)]


def test_lists_are_nested_as_the_axes_are(lib: Any) -> None:
    assert lib.arange(6).reshape(2, 3).T.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert lib.tensor(1.5).tolist() == 1.5


def test_iteration_goes_along_the_first_axis(lib: Any) -> None:
    rows = list(lib.arange(6).reshape(2, 3))
    assert [row.tolist() for row in rows] == [[0, 1, 2], [3, 4, 5]]
    assert len(lib.zeros(4, 2)) == 4
    for attempt in (len, iter):
        with pytest.raises(TypeError):
            attempt(lib.tensor(1.0))


def test_iteration_is_differentiable(lib: Any) -> None:
    x = lib.ones(2, 2, requires_grad=True)
    first, _ = x
    first.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_numpy_refuses_a_tensor_that_requires_grad(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()
    assert x.detach().numpy().tolist() == [1.0, 1.0]


def test_numpys_functions_read_a_tensor(lib: Any) -> None:
    x = lib.tensor([1.0, 2.0])
    assert np.asarray(x).tolist() == [1.0, 2.0]
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.shares_memory(np.asarray(x), x.numpy())


def test_operators_refuse_numpys_arrays_from_either_side() -> None:
    for attempt in (lambda x, y: x + y, lambda x, y: y + x, lambda x, y: x @ y, lambda x, y: y < x):
        with pytest.raises(TypeError, match="expected a Tensor"):
            attempt(re.ones(2), np.ones(2))


def test_operators_give_way_to_other_types(lib: Any) -> None:
    class Other:
        def __radd__(self, other: Any) -> str:
            return "theirs"

    assert lib.ones(2) + Other() == "theirs"
    with pytest.raises(TypeError):
        lib.ones(2) + "text"
    assert (lib.ones(2) == "text") is False


def test_tensors_are_hashed_by_identity(lib: Any) -> None:
    x, y = lib.ones(2), lib.ones(2)
    assert len({x, y, x}) == 2


def test_requires_grad_can_only_be_changed_on_leaves(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    y = x * 2
    with pytest.raises(RuntimeError, match="leaf"):
        y.requires_grad = False
    x.requires_grad = False
    assert not x.requires_grad
    assert x.requires_grad_() is x


def test_deepcopy_copies_leaves_with_their_gradient(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.requires_grad
    assert twin.grad.tolist() == [3.0, 3.0]
    assert twin.data_ptr() != x.data_ptr()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(x * 2)


def test_attributes_of_ones_own_can_be_set(lib: Any) -> None:
    x = lib.ones(2)
    x.label = "weights"
    assert x.label == "weights"


def test_leaves_know_that_they_are(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    y = x * 2
    assert (x.is_leaf, y.is_leaf, y.detach().is_leaf) == (True, False, True)
    assert x.grad_fn is None
    assert (x.output_nr, y.output_nr) == (0, 0)


def test_views_know_their_base(lib: Any) -> None:
    x = lib.ones(2, 3)
    y = x.T[0]
    assert y._is_view()
    assert y._base is x
    assert x._base is None


def test_a_view_of_no_memory_is_no_view(lib: Any) -> None:
    assert not lib.ones(2).clone()._is_view()
    assert not lib.ones(2).detach()._is_view() or lib is not re
