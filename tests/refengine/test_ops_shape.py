"""Views, copies, repetitions and writes are PyTorch's, in value, gradient, sharing and strides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from refengine.errors import ArgumentError, DimensionError, DTypeError, InplaceError, ShapeError, ViewError
from tests.refengine.support import Constant, agree, both_raise, case, layouts, normal, ours, theirs, torch, unique

X = normal(2, 3, 4)
ONES = normal(1, 3, 1, 2)
CASES = [
    *(case("unsqueeze", X, dim) for dim in (0, 1, 3, -1, -4)),
    *(case("squeeze", ONES, *dim) for dim in ((), (0,), (-2,), (1,), ((0, 2),), ((-1, 0),), ((),))),
    *(case("flatten", X, *dims) for dims in ((), (1,), (0, 1), (-2, -1), (1, 1))),
    case("unflatten", X, 2, (2, 2)),
    case("unflatten", X, -1, (2, -1)),
    case("view_as", X, Constant(normal(6, 4))),
    case("reshape_as", X, Constant(normal(4, 6))),
    case("expand_as", normal(3, 1), Constant(X)),
    case("movedim", X, 0, -1),
    case("movedim", X, (0, 1), (-1, 0)),
    case("view", X, 6, -1),
    case("view", X, (4, 6)),
    case("reshape", X, -1),
    case("permute", X, 2, 0, 1),
    case("permute", X, (-1, 0, 1)),
    case("transpose", X, 0, -1),
    case("expand", normal(3, 1), 2, -1, 4),
    case("broadcast_to", normal(3, 1), (2, 3, 4)),
    case("flip", X, 0, -1),
    case("flip", X, (1,)),
    case("flip", X, ()),
    *(case("roll", X, *a) for a in ((1,), (-2, 0), (7, -1), ((1, -1), (0, 2)), ((1, 1), (1, 1)))),
    *(case("repeat", X, *a) for a in ((1, 2, 1), (2, 1, 1, 3), ((2, 2, 2),), (0, 1, 1))),
    *(case("tile", X, a) for a in ((2,), (2, 1, 1, 2), ())),
    *(case("repeat_interleave", X, *a) for a in ((2,), (3, 1), (2, -1), (0, 0))),
    case("clone", X),
    case("contiguous", X),
]
SCALARS = [
    *(case(name, np.array(2.0), 0) for name in ("unsqueeze", "squeeze")),
    case("movedim", np.array(2.0), 0, -1),
    *(case(name, np.array(2.0)) for name in ("squeeze", "flatten", "clone", "contiguous")),
    case("flip", np.array(2.0), 0),
    case("roll", np.array(2.0), 3),
    case("repeat", np.array(2.0), 3),
    case("repeat_interleave", np.array(2.0), 2),
    *(case(name, np.zeros((0, 2))) for name in ("flatten", "squeeze", "clone")),
    case("flip", np.zeros((0, 2)), 0),
    case("roll", np.zeros((0, 2)), 1),
    case("roll", np.zeros((0, 2)), 1, 0),
    case("repeat", np.zeros((0, 2)), 2, 2),
]
VIEWS = ("unsqueeze", "squeeze", "permute", "transpose", "expand", "movedim", "unflatten")


@pytest.mark.parametrize(("name", "args", "kwargs"), unique(CASES, SCALARS))
def test_value_and_gradient_are_those_of_pytorch(name: str, args: Any, kwargs: Any) -> None:
    agree(name, *args, second=True, **kwargs)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"), unique([c for c in CASES if not c.id.startswith(("view", "unfl"))])
)
def test_every_layout_gives_pytorchs_values_and_strides(name: str, args: Any, kwargs: Any) -> None:
    for x in layouts(args[0]):
        mine = getattr(refengine.from_numpy(x), name)(*_tensors(args[1:], 0))
        their = getattr(torch.from_numpy(x), name)(*_tensors(args[1:], 1))
        assert their.tolist() == mine.tolist()
        assert their.is_contiguous() == mine.is_contiguous()
        if name in VIEWS and 0 not in x.shape:
            assert _stride(their) == _stride(mine)


def _tensors(args: Any, side: int) -> Any:
    library = (refengine, torch)[side]
    return [library.from_numpy(a.values) if isinstance(a, Constant) else a for a in args]


def _stride(tensor: Any) -> Any:
    """Strides, 0 for axes of size 1, whose stride has no meaning."""
    return tuple(0 if size == 1 else stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        (n, a)
        for n, a in zip(VIEWS, ((0,), (0,), (0, 2, 1, 3), (0, 1), (-1, 3, 1, 2), (0, 1), (1, (3, 1))), strict=True)
    ],
)
def test_a_view_shares_memory_and_version(name: str, args: Any) -> None:
    x = refengine.from_numpy(ONES.copy())
    view = getattr(x, name)(*args)
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    x.zero_()
    assert view._version == 1
    assert not np.any(view.numpy())


@pytest.mark.parametrize("name", ["clone", "flip", "roll", "repeat", "repeat_interleave", "tile"])
def test_a_copy_shares_no_memory(name: str) -> None:
    x = refengine.from_numpy(normal(3))
    result = getattr(x, name)(*{"clone": (), "flip": (0,), "tile": ((1,),)}.get(name, (1,)))
    result.zero_()
    assert np.all(x.numpy())


def test_reshape_copies_only_where_it_must() -> None:
    x = refengine.from_numpy(normal(3, 4))
    assert x.data_ptr() == x.reshape(2, 6).data_ptr()
    assert x.data_ptr() != x.t().reshape(2, 6).data_ptr()
    with pytest.raises(ViewError, match="use reshape"):
        x.t().view(12)


def test_clone_keeps_the_order_of_axes_in_memory() -> None:
    x = refengine.from_numpy(normal(3, 4)).t()
    assert x.clone().stride() == (1, 4)
    assert x.clone(memory_format="contiguous_format").stride() == (3, 1)


def test_contiguous_returns_the_tensor_itself_where_it_is() -> None:
    x = refengine.from_numpy(normal(3, 4))
    assert x.contiguous() is x
    assert x.t().contiguous().is_contiguous()


def test_flatten_of_one_axis_returns_the_tensor_itself() -> None:
    x = refengine.from_numpy(normal(3))
    assert x.flatten() is x


@pytest.mark.parametrize("value", [2.5, np.array(-1.5)], ids=["number", "tensor"])
def test_fill_has_pytorchs_value_and_gradient(value: Any) -> None:
    agree("fill", X, value, inplace=True)


def test_zero_has_pytorchs_value_and_gradient() -> None:
    agree("zero", X, inplace=True)


@pytest.mark.parametrize(
    "y",
    [X * 2, normal(4), np.array(3.0), normal(3, 1), X.astype(np.float32)],
    ids=["same", "row", "0-d", "column", "float32"],
)
def test_copy_has_pytorchs_value_and_gradient(y: Any) -> None:
    mine, their = refengine.from_numpy(y).requires_grad_(), torch.from_numpy(y).requires_grad_()
    a, b = refengine.from_numpy(X).requires_grad_(), torch.from_numpy(X).requires_grad_()
    got = refengine.autograd.grad((a * 1).copy_(mine), (a, mine), refengine.from_numpy(X))
    expected = torch.autograd.grad((b * 1).copy_(their), (b, their), torch.from_numpy(X))
    for g, e in zip(got, expected, strict=True):
        assert str(e.dtype).endswith(g.dtype.name)
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "source"), [("int64", "float64"), ("bool", "float64"), ("float32", "int64"), ("uint8", "bool")]
)
def test_copy_casts_whatever_it_is_given(target: str, source: str) -> None:
    x, y = np.zeros(3, target), np.array([0, 1, 2]).astype(source)
    assert (
        torch.from_numpy(x.copy()).copy_(torch.from_numpy(y)).tolist()
        == refengine.from_numpy(x).copy_(refengine.from_numpy(y)).tolist()
    )


def test_a_view_written_to_passes_gradient_around_what_was_overwritten() -> None:
    for library in (refengine, torch):
        x = library.ones(2, 3, requires_grad=True)
        y = x * 2
        y.unsqueeze(0).squeeze(0)[0].fill_(7.0)
        y.sum().backward()
        assert x.grad.tolist() == [[0.0] * 3, [2.0] * 3]


@pytest.mark.parametrize(
    ("error", "name", "args"),
    [
        (DimensionError, "unsqueeze", (X, 4)),
        (DimensionError, "squeeze", (X, 3)),
        (DimensionError, "flatten", (X, 3)),
        (ShapeError, "flatten", (X, 2, 1)),
        (ShapeError, "unflatten", (X, 0, (3, 2))),
        (ShapeError, "expand_as", (X, Constant(normal(4)))),
        (ShapeError, "movedim", (X, (0, 1), (0,))),
        (ShapeError, "movedim", (X, (0, 0), (0, 1))),
        (DimensionError, "flip", (X, 3)),
        (ShapeError, "flip", (X, (0, 0))),
        (ShapeError, "roll", (X, (1, 2))),
        (ShapeError, "roll", (X, (1, 2), 0)),
        (DimensionError, "roll", (np.array(2.0), 1, 0)),
        (ShapeError, "repeat", (X, 2)),
        (ShapeError, "view", (X, 5, 5)),
        (ShapeError, "view", (X, -1, -1)),
        (ShapeError, "permute", (X, 0, 1)),
    ],
)
def test_wrong_arguments_raise_as_in_pytorch(error: type[Exception], name: str, args: Any) -> None:
    both_raise(name, error, *args)


def test_writes_that_cannot_be_are_refused() -> None:
    x = refengine.zeros(3)
    with pytest.raises(ShapeError, match="copy_"):
        x.fill_(refengine.zeros(2))
    with pytest.raises(DTypeError, match="complex"):
        x.fill_(1j)
    with pytest.raises(ShapeError):
        x.copy_(refengine.zeros(2))
    with pytest.raises(InplaceError, match="single memory"):
        refengine.zeros(1).expand(3).fill_(1.0)
    with pytest.raises(ArgumentError):
        x.copy_(3.0)


def test_names_that_pytorch_has_are_found() -> None:
    for name in ("unsqueeze", "flip", "roll", "repeat", "tile", "movedim", "unflatten"):
        assert callable(theirs(name))
        assert ours(name) is not None
