"""Shapes, strides and views: which views exist, and what layout they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import refengine as re
from refengine import layout
from refengine.errors import ArgumentError, DimensionError, ShapeError, ViewError

Make = Callable[[Any], Any]

VIEWS: dict[str, Make] = {
    "view": lambda x: x.view(6, 4),
    "view with -1": lambda x: x.view(-1, 2),
    "transpose": lambda x: x.transpose(0, -1),
    "permute": lambda x: x.permute(2, 0, 1),
    "select": lambda x: x[1],
    "select inside": lambda x: x[:, 2],
    "slice": lambda x: x[:, 1:, ::2],
    "new axis": lambda x: x[None, ..., 0],
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "expand in front": lambda x: x[0, 0].expand(3, 4),
    "a view of a view": lambda x: x[:, 1:].transpose(1, 2)[..., 1],
    "reshape without a copy": lambda x: x.reshape(3, 8),
    "contiguous": lambda x: x.contiguous(),
    "empty slice": lambda x: x[2:],
}


@pytest.mark.parametrize("make", VIEWS.values(), ids=[name.replace(" ", "-") for name in VIEWS])
def test_a_view_has_pytorchs_layout(make: Make) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (re, torch):
        base = lib.arange(24.0).reshape(2, 3, 4)
        y = make(base)
        same = y.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
        strides = [stride for size, stride in zip(y.shape, y.stride(), strict=True) if size > 1]
        place = (y.storage_offset(), strides) if y.numel() else None
        found.append((y.tolist(), tuple(y.shape), y.is_contiguous(), same, place))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "shape", [(4, 6), (3, 8), (24,), (2, 2, 6), (1, 24, 1), (2, 3, 2, 2), (12, 2), (8, 3)], ids=str
)
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_a_view_is_refused_exactly_where_pytorch_refuses_it(order: tuple[int, ...], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    found: list[Any] = []
    for lib in (re, torch):
        x = lib.arange(24.0).reshape(2, 3, 4).permute(*order)
        try:
            found.append((x.view(*shape).tolist(), x.view(*shape).stride()))
        except RuntimeError:
            found.append("refused")
        found.append(x.reshape(*shape).tolist())
    assert found[:2] == found[2:]


def test_reshape_copies_only_where_it_must(lib: Any) -> None:
    x = lib.arange(6.0).reshape(2, 3)
    assert x.reshape(6).data_ptr() == x.data_ptr()
    assert x.T.reshape(6).data_ptr() != x.data_ptr()


def test_contiguous_returns_the_tensor_itself_where_it_is(lib: Any) -> None:
    x = lib.zeros(2, 3)
    assert x.contiguous() is x
    assert x.T.contiguous() is not x.T
    assert x.T.contiguous().is_contiguous()


@pytest.mark.parametrize("shape", [(2, 0), (0,), (1, 1), (1, 5), (5, 1), ()], ids=str)
def test_contiguity_ignores_axes_of_size_one_and_empty_tensors(lib: Any, shape: tuple[int, ...]) -> None:
    x = lib.zeros(*shape) if shape else lib.zeros(())
    assert x.is_contiguous()
    assert x.expand(*shape).is_contiguous() if shape else True


@given(st.lists(st.integers(0, 4), max_size=4), st.integers(-6, 6))
def test_an_axis_is_normalised_or_refused(shape: list[int], value: int) -> None:
    ndim = len(shape)
    span = max(ndim, 1)
    if -span <= value < span:
        assert layout.axis(value, ndim) == (value - span if value >= 0 else value)
    else:
        with pytest.raises(DimensionError, match="Dimension out of range"):
            layout.axis(value, ndim)


@given(st.data())
def test_broadcasting_is_numpys(data: st.DataObject) -> None:
    import numpy as np

    sizes = st.lists(st.sampled_from([0, 1, 1, 2, 3]), max_size=3).map(tuple)
    shapes = data.draw(st.lists(sizes, min_size=1, max_size=3))
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError, match="do not fit"):
            layout.broadcast(*shapes)
    else:
        assert layout.broadcast(*shapes) == expected


def test_size_is_a_tuple_with_numel(lib: Any) -> None:
    size = lib.zeros(2, 3).shape
    assert size == (2, 3)
    assert isinstance(size, tuple)
    assert size.numel() == 6


def test_axes_refuse_repetition() -> None:
    with pytest.raises(ShapeError, match="distinct axes"):
        layout.axes((0, -2), 2)


def test_sizes_refuse_what_is_no_int() -> None:
    with pytest.raises(ArgumentError, match="expected ints"):
        layout.sizes((2.5,))


def test_view_names_the_way_out() -> None:
    with pytest.raises(ViewError, match="use reshape"):
        re.zeros(2, 3).T.view(6)


@pytest.mark.parametrize("wanted", [(5,), (-1, -1), (4, -1)], ids=str)
def test_a_shape_that_does_not_fit_is_refused(lib: Any, wanted: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError):
        lib.zeros(2, 3).view(*wanted)
