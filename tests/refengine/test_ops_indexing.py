"""Reading parts of a tensor and writing into them by brackets, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from tests.refengine.expressions import agree, expression, numbers, refused_alike

INDICES = np.array([2, 0, 2, -1])
MASK = np.array([[True, False, True], [False, False, True], [False, False, False]])

VIEWS = [
    "x[0]", "x[-1]", "x[1, 2]", "x[1, 2, 3]", "x[:]", "x[1:]", "x[:, 1:]", "x[:, ::2]", "x[..., 1:3]", "x[..., -1]",
    "x[0, ..., 1]", "x[None]", "x[:, None]", "x[..., None]", "x[None, 0, None]", "x[...]", "x[()]", "x[1:1]",
    "x[5:]", "x[-3:-1]", "x[:, 2:1]", "x[lib.tensor(1)]", "x[:, lib.tensor(-1)]", "x[0][1]", "x[:, 1:][..., ::3]",
    "x.select(1, -1)", "x.select(-1, 0)", "x.narrow(1, 1, 2)", "x.narrow(-1, -3, 2)", "x.narrow(0, 2, 0)",
    "x.unbind()[1]", "x.unbind(-1)[2]", "x.split(2, -1)[1]", "x.split([1, 0, 3], 2)[2]", "x.split([1, 0, 3], 2)[1]",
    "x.split(3, dim=1)[0]", "x.chunk(3, 2)[1]", "x.chunk(9, 1)[2]", "x.diagonal()", "x.diagonal(1)",
    "x.diagonal(-1, 0, 2)", "x.diagonal(dim1=2, dim2=-2)", "x.diagonal(5)", "x.diagonal(-5)",
]  # fmt: skip
COPIES = [
    "x[y]", "x[:, y % 2]", "x[y, y]", "x[[0, 1, 1]]", "x[[]]", "x[0, y]", "x[:, 0, y]", "x[0, :, y]",
    "x[y % 2, :, y]", "x[y % 2, y]", "x[..., y]", "x[None, y % 2]", "x[y % 2, None, 1:]", "x[y[:, None] % 2, y]",
    "x[z]", "x[z, 1:]", "x[z, y[:3]]", "x[:, z[0]]", "x[:, z[0], y[:2] % 2]", "x[x > 0]", "x[x > 9]", "x[True]",
    "x[False]", "x[None, True]", "x[[True, False, True]]", "x[y[:0]]", "x[1:, [0, 2], ::2]",
    "x[lib.tensor([1], dtype=lib.int32)]", "x[y % 2][0]", "x[0][y]", "x[0, 0][y]",
]  # fmt: skip


@pytest.mark.parametrize("call", VIEWS)
def test_views_agree_with_torch(call: str) -> None:
    agree(expression(call + " * 2"), numbers(2, 3, 4))
    agree(expression("(x * x).mT" + call[1:] + " ** 2"), numbers(2, 4, 3))


@pytest.mark.parametrize("call", VIEWS)
def test_views_share_memory_as_in_torch(call: str, lib: Any) -> None:
    x = lib.arange(24.0).reshape(2, 3, 4).clone()
    view = expression(call)(lib, x)
    assert view._base is x
    view.fill_(-1)
    assert int((x == -1).sum()) == view.numel()
    assert x._version == view._version


@pytest.mark.parametrize("call", VIEWS)
def test_views_have_the_strides_of_torch(call: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = (expression(call)(lib, lib.zeros(2, 3, 4)) for lib in (refengine, torch))
    assert mine.shape == theirs.shape
    assert mine.numel() == 0 or (mine.stride(), mine.storage_offset()) == (theirs.stride(), theirs.storage_offset())


@pytest.mark.parametrize("call", COPIES)
def test_copies_agree_with_torch(call: str) -> None:
    agree(expression(call + " ** 2"), numbers(3, 3, 4), INDICES, MASK)
    if "x > " not in call:
        agree(expression("(x * x).mT" + call[1:] + " ** 2"), numbers(3, 4, 3), INDICES, MASK)


@pytest.mark.parametrize(
    "call", ["x[None]", "x[...]", "x[()]", "x[True]", "x[False]", "x[x > 0]", "x[None, ..., None]"]
)
def test_scalars_can_be_indexed(call: str) -> None:
    agree(expression(call + " * 2"), np.array(1.5))


@pytest.mark.parametrize("call", ["x[:0]", "x[[]]", "x[:, 1]", "x[x > 0]", "x[..., None]", "x[:, [0, 0]]"])
def test_empty_tensors_can_be_indexed(call: str) -> None:
    agree(expression(call + " * 2"), numbers(0, 3))


@pytest.mark.parametrize(
    "call",
    [
        "x[2]", "x[-3]", "x[0, 0, 0, 0]", "x[[2]]", "x[:, [-4]]", "x[::-1]", "x[::0]", "x[1.0]", "x[lib.ones(2)]",
        "x[lib.tensor([True])]", "x.select(0, 2)", "x.select(3, 0)", "x.narrow(0, 1, 2)", "x.narrow(0, 3, 0)",
        "x.diagonal(0, 1, 1)", "x.split([1, 2])", "x.split(-1)", "x.chunk(0)", "x[0, 0, 0].unbind()",
        "x[0, 0, 0][0]", "x[0, 0, 0].select(0, 0)", "x[0, 0, 0].split(1)", "x[[0, 1], [0, 1, 2]]",
    ],
)  # fmt: skip
def test_reading_refuses_what_is_not_there(call: str) -> None:
    refused_alike(expression(call), numbers(2, 3, 4))


def test_iteration_gives_views(lib: Any) -> None:
    x = lib.ones(2, 3, requires_grad=True)
    first, second = x * 1
    (first * 2 + second).sum().backward()
    assert x.grad.tolist() == [[2, 2, 2], [1, 1, 1]]


@pytest.mark.parametrize("key", ["0", "-1", "slice(1, None)", "(slice(None), None)", "Ellipsis"])
def test_a_view_is_recorded_under_the_name_of_torch(key: str, lib: Any) -> None:
    names = {"0": "SelectBackward0", "-1": "SelectBackward0", "slice(1, None)": "SliceBackward0"}
    node = lib.ones(2, 2, requires_grad=True)[eval(key)].grad_fn
    assert key not in names or node.name() == names[key]


# --- writing ------------------------------------------------------------------------------------------------------

KEYS = [
    "0",
    "-1",
    "(1, 2)",
    "slice(1, None)",
    "(slice(None), slice(None, None, 2))",
    "Ellipsis",
    "(Ellipsis, -1)",
    "(slice(None), 1)",
    "()",
]
INDEX_KEYS = [
    "[0]",
    "[1, 0]",
    "(0, [0, 2])",
    "(slice(None), [2, 0])",
    "(slice(None), 0, [3, 1])",
    "(0, slice(None), [3, 1])",
    "([1], slice(1, None), [0])",
]


@pytest.mark.parametrize("key", KEYS + INDEX_KEYS)
@pytest.mark.parametrize("value", ["number", "scalar", "whole"])
def test_assignment_agrees_with_torch(key: str, value: str) -> None:
    where = eval(key)

    def assign(lib: Any, x: Any, y: Any) -> Any:
        base = x * x
        base[where] = {"number": 3.0, "scalar": y.sum(), "whole": base.detach().clone()[where] * y[0]}[value]
        return base * base

    agree(assign, numbers(2, 3, 4), numbers(2))


@pytest.mark.parametrize("mask", ["x > 0", "x[0] > 0", "x[:, 0, 0] > 9"])
def test_assignment_by_a_mask_agrees_with_torch(mask: str) -> None:
    def assign(lib: Any, x: Any, y: Any) -> Any:
        base = x * x
        key = expression(mask)(lib, x)
        if key.ndim == 2:
            base[:, key] = y.sum()
        else:
            base[key] = 0
        return base * base

    agree(assign, numbers(2, 3, 4), numbers(2))


def test_assignment_into_what_needs_no_gradient_makes_it_tracked(lib: Any) -> None:
    x, w = lib.zeros(3, 2), lib.ones(2, requires_grad=True)
    row = x[0]
    x[0] = w
    assert x.requires_grad
    assert row.requires_grad
    (x * 2).sum().backward()
    assert w.grad.tolist() == [2, 2]


def test_assignment_casts_and_drops_leading_ones(lib: Any) -> None:
    x = lib.zeros(2, 2, dtype=lib.int64)
    x[0] = 2.7
    x[1] = lib.tensor([[[1.5, 3.5]]])
    assert x.tolist() == [[2, 2], [1, 3]]


def test_assignment_between_parts_of_one_tensor(lib: Any) -> None:
    x = lib.arange(4.0)
    x[1:] = x[:-1].clone()
    assert x.tolist() == [0, 0, 1, 2]


def test_augmented_assignment_goes_through_the_view(lib: Any) -> None:
    x = lib.ones(3, requires_grad=True)
    y = x * 1
    y[1:] *= 3
    y[[0]] += y[[1]]
    y.sum().backward()
    assert x.grad.tolist() == [1, 6, 3]


def test_writing_into_a_view_of_a_view_reaches_the_base(lib: Any) -> None:
    x = lib.ones(2, 3, requires_grad=True)
    y = x * 1
    part = y[1:]
    part[0, 1:].mul_(2)
    part[:, :1] = 0
    (y * y).sum().backward()
    assert y.tolist() == [[1, 1, 1], [0, 2, 2]]
    assert x.grad.tolist() == [[2, 2, 2], [0, 8, 8]]
    assert part.grad_fn is not None


@pytest.mark.parametrize(
    "call",
    ["x[0].mul_(2)", "x[:, 1].zero_()", "x.__setitem__(0, 1.0)", "x.__setitem__([0], 1.0)", "x.diagonal().fill_(0)"],
)
def test_writing_into_a_leaf_that_requires_grad_raises(call: str) -> None:
    def write(lib: Any, x: Any) -> None:
        expression(call)(lib, x.requires_grad_())

    refused_alike(write, numbers(2, 2))


@pytest.mark.parametrize(
    "call",
    [
        "x.__setitem__(0, lib.ones(3))",
        "x.__setitem__(2, 1.0)",
        "x.__setitem__([0, 5], 1.0)",
        "x.__setitem__([0], lib.ones(3))",
    ],
)
def test_assignment_refuses_what_does_not_fit(call: str) -> None:
    refused_alike(expression(call), np.ones((2, 2), np.float32))


@pytest.mark.parametrize(
    "call", ["x.expand(2, 3)[0].fill_(1)", "x.expand(2, 3)[:, 0].mul_(2)", "x.as_strided((2, 2), (0, 1)).mul_(2)"]
)
def test_memory_that_overlaps_itself_is_not_written(call: str, lib: Any) -> None:
    x = lib.ones(3)
    if "[0]" in call:
        expression(call)(lib, x)
        assert x._version == 1
    else:
        with pytest.raises(RuntimeError, match="single memory location"):
            expression(call)(lib, x)


@pytest.mark.parametrize("call", ["x.unbind()[0]", "x.split(1)[1]", "x.chunk(2)[0]", "x.unbind()[0][:1]"])
def test_one_of_several_views_is_not_written_where_gradients_flow(call: str, lib: Any) -> None:
    with pytest.raises(RuntimeError, match="multiple views"):
        expression(call)(lib, lib.ones(2, 2, requires_grad=True) * 1).mul_(2)
    plain = lib.ones(2, 2)
    expression(call)(lib, plain).mul_(2)
    assert plain._version == 1


def test_a_saved_value_that_was_assigned_to_is_noticed(lib: Any) -> None:
    x = lib.ones(3, requires_grad=True)
    y = x * 1
    out = y * y
    y[0] = 5.0
    with pytest.raises(RuntimeError, match="modified by an inplace|modified by an in-place"):
        out.sum().backward()


def test_an_index_that_was_modified_is_noticed(lib: Any) -> None:
    x, index = lib.ones(3, requires_grad=True), lib.tensor([0, 1])
    out = x[index]
    index[0] = 2
    with pytest.raises(RuntimeError, match="modified by an in"):
        out.sum().backward()


def test_a_mask_that_was_modified_is_noticed(lib: Any) -> None:
    x, mask = lib.ones(3, requires_grad=True), lib.tensor([True, False, True])
    out = x[mask]
    mask[0] = False
    with pytest.raises(RuntimeError, match="modified by an in"):
        out.sum().backward()


def test_a_plain_copy_saves_nothing_that_a_later_write_could_spoil(lib: Any) -> None:
    x = lib.ones(3, requires_grad=True)
    y = x * 1
    out = y[[0, 2, 2]]
    y[0] = 9.0
    out.sum().backward()
    assert x.grad.tolist() == [1, 0, 2]


# --- as_strided ---------------------------------------------------------------------------------------------------

LAYOUTS = [
    "((2, 3), (3, 1))",
    "((3, 2), (1, 3), 2)",
    "((4, 3), (2, 1))",
    "((2, 2), (0, 3), 1)",
    "((), (), 5)",
    "((0, 2), (1, 1))",
    "((12,), (1,), 0)",
]


@pytest.mark.parametrize("arguments", LAYOUTS)
def test_as_strided_agrees_with_torch(arguments: str) -> None:
    for source in ("(x * 1)", "(x * 1).mT"):
        agree(expression(f"{source}.as_strided(*{arguments}) ** 2"), numbers(3, 4))
    agree(expression(f"x.as_strided(*{arguments}) ** 2"), numbers(3, 4))


def test_as_strided_counts_from_the_start_of_the_storage() -> None:
    agree(expression("(x * 1)[1].as_strided((2,), (1,), 5) * 2"), numbers(3, 4))
    agree(expression("(x * 1)[1].as_strided((2,), (1,)) * 2"), numbers(3, 4))


def test_as_strided_of_an_expanded_tensor_shares_the_gradient() -> None:
    agree(expression("(x * 1).expand(3, 2).as_strided((4, 2), (0, 1)) * 2"), numbers(1, 2))


@pytest.mark.parametrize("arguments", ["((2, 2), (2, 1), 1)", "((3,), (4,), 0)"])
def test_writing_through_as_strided_agrees_with_torch(arguments: str) -> None:
    def write(lib: Any, x: Any) -> Any:
        y = (x * x).mT
        y.as_strided(*eval(arguments)).mul_(3)
        return y * y

    agree(write, numbers(3, 4))


@pytest.mark.parametrize(
    "arguments", ["(4, 4), (4, 1)", "(2,), (1,), 11", "(2, 2), (1,)", "(2,), (-1,), 3", "(2,), (1,), -1"]
)
def test_as_strided_stays_inside_the_storage(arguments: str) -> None:
    refused_alike(expression(f"x.as_strided({arguments})"), numbers(3, 4))


# --- gathering ----------------------------------------------------------------------------------------------------

INDEX = np.array([[0, 2, 1, 0], [1, 1, 2, 2]])


@pytest.mark.parametrize(
    "call",
    [
        "lib.index_select(x, 0, y[0] % 3)", "x.index_select(-1, y[0])", "x.index_select(dim=1, index=y[1])",
        "x.index_select(1, y[0, 0])", "x.index_select(0, y[0, :0])", "lib.gather(x, 0, y)", "x.gather(1, y)",
        "x.gather(-1, y[:1, :2])", "x.gather(0, y[:, :0])", "x.gather(index=y, dim=1)", "lib.take(x, y)",
        "x.take(y - 5)", "x.take(y[0, 0])", "x.take(y[:0])", "x.mT.take(y)", "lib.take_along_dim(x[:2], y, 1)",
        "x.take_along_dim(y[:1], dim=1)", "x.take_along_dim(y)", "x[:1].take_along_dim(y, -1)",
        "x.masked_select(x > 0)", "x.masked_select(x[0] > 0)", "x[:1].masked_select(x > 0)",
        "x.masked_select(x > 9)", "x.mT.gather(0, y.mT)", "x[0, 0].gather(0, y[0, 0] * 0)",
        "x[0, 0].gather(0, y[0, :2] * 0)", "x[0, 0].take(y * 0)", "x[0, 0].masked_select(x[0, 0] < 9)",
    ],
)  # fmt: skip
def test_gathering_agrees_with_torch(call: str) -> None:
    agree(expression(f"({call}) ** 2"), numbers(3, 4), INDEX)


@pytest.mark.parametrize(
    "call",
    [
        "x.index_select(0, y)", "x.index_select(0, y[0] + 5)", "x.index_select(0, y[0] - 3)",
        "x.index_select(2, y[0])", "x.index_select(0, x[0])", "x.gather(0, y[0])", "x.gather(0, y + 5)",
        "x.gather(0, y - 3)", "x.gather(1, lib.cat([y, y]))", "x.gather(0, x)", "x.take(y + 50)", "x.take(x)",
        "x.take_along_dim(y[0], 1)", "x.masked_select(x)", "x.gather(y)", "x.gather(0, y, foo=1)",
        "x.gather(0, y, dim=1)",
    ],
)  # fmt: skip
def test_gathering_refuses_what_is_not_there(call: str) -> None:
    refused_alike(expression(call), numbers(3, 4), INDEX)
