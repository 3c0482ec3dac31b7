"""Writing at indices, along an axis and by masks, compared with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from tests.refengine.expressions import agree, expression, numbers, refused_alike

INDEX = np.array([[0, 2, 1, 0], [1, 1, 2, 2]])
ONCE = np.array([[0, 2, 1, 0], [1, 0, 2, 2]])

CALLS = [
    "index_add(0, z[0, :3], x[:3] * y[:3])", "index_add(1, z[0], y, alpha=-2)", "index_add(-1, z[0, :2], y[:, :2])",
    "index_add(0, z[0, :0], y[:0])", "index_add(dim=0, index=z[0, 0], source=y[:1])",
    "index_copy(0, z[0, 1:3], y[:2])", "index_copy(-1, z[0, :2], y[:, :2])", "index_fill(0, z[0], 2.5)",
    "index_fill(1, z[0, :2], y[0, 0])", "index_fill(-1, z[0, :0], 3)", "index_fill(1, z[0] - 3, 1.0)",
    "scatter(0, z[:, 1:3], y[:2, 1:3])", "scatter(1, z[:1, :2], y[:1, :2])", "scatter(0, z[:1], y[:1])",
    "scatter(-1, z, 2.5)", "scatter(0, z, value=2)", "scatter(1, index=z[:, :0], src=y[:2, :0])",
    "scatter(0, z[:1, :3], src=y[1:2, 1:])", "scatter_add(0, z, y[:2])", "scatter_add(1, z, y[1:])",
    "scatter_add(-1, z[:1, :2], y[:1, 1:3])", "scatter_add(0, z[:0], y[:0])",
    "scatter_add(0, lib.cat([z, z, z]), lib.cat([y, y]))", "scatter_add(0, z.mT[:, :1], y.mT[:, :1])",
    "index_put((z[0, :3],), y)", "index_put((z[0, :2],), y[0])", "index_put((z[0, 1:3], z[0, 1:3]), y[0, :2])",
    "index_put((z[0], z[1]), y[0], accumulate=True)", "index_put((z,), y[0, 0], accumulate=True)",
    "index_put((x > 0,), y[0, 0])", "index_put((z[:1, 1:3] % 2, z[1:, :2] * 0), y[:1, :2])",
    "index_put(indices=[z[0, :1]], values=y[:1])", "index_put((x[:, 0] > 9,), y[0])",
    "index_put((z[0, :1],), y[0, 0], True)", "masked_fill(x > 0, 2.5)", "masked_fill(x > 0, y[0, 0])",
    "masked_fill(x[0] > 0, 0)", "masked_fill(x[:, :1] > 9, float('inf'))",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_writing_out_of_place_agrees_with_torch(call: str) -> None:
    agree(expression(f"x.{call} ** 2"), numbers(3, 4), numbers(3, 4, seed=1), ONCE)
    agree(expression(f"(x * x).mT.contiguous().mT.{call} ** 2"), numbers(3, 4), numbers(3, 4, seed=1), ONCE)


@pytest.mark.parametrize("call", CALLS)
def test_writing_in_place_agrees_with_torch(call: str) -> None:
    name, _, rest = call.partition("(")
    agree(expression(f"(x * x).{name}_({rest} ** 2"), numbers(3, 4), numbers(3, 4, seed=1), ONCE)

    def through_a_view(lib: Any, x: Any, y: Any, z: Any) -> Any:
        base = (x * 2).clone()
        part = base[1:, :4]
        eval(f"part.{name}_({rest}", {"part": part, "lib": lib, "x": x[1:, :4], "y": y, "z": z})
        return base * base

    agree(through_a_view, numbers(4, 5), numbers(3, 4, seed=1), ONCE)


@pytest.mark.parametrize("call", ["scatter_add(0, z, y)", "scatter(0, z, y)", "gather(0, z)", "masked_fill(x > 0, y)"])
def test_scalars_can_be_written(call: str) -> None:
    agree(expression(f"x.{call} ** 2"), np.array(1.5), np.array(2.5), np.array(0))


@pytest.mark.parametrize(
    "call",
    [
        "index_add(0, z[0], y)", "index_add(0, z[0, :3] - 3, y)", "index_add(0, z[0, :3] + 9, y)",
        "index_add(2, z[0, :3], y)", "index_copy(0, z[0], y)", "index_fill(0, z, 1.0)",
        "index_fill(0, z[0] + 9, 1.0)", "index_fill(0, z[0], y)", "scatter(0, z[0], y)", "scatter(0, z + 9, y)",
        "scatter(0, z - 9, y)", "scatter(0, lib.cat([z, z], 1), y)", "scatter(0, z, y[:1])",
        "scatter_add(0, z, y[0])", "scatter_add(0, x, y)", "scatter(0, z)", "index_put((z[0],), y)",
        "index_put((z[0] + 9,), y[0])", "index_put((z[0], z[0], z[0]), y)", "index_put((x,), y)",
        "index_put((z[0, :3],), y.to(lib.float32))", "masked_fill(x, 1.0)", "masked_fill(x > 0, y)",
        "masked_fill(x > 0, 'a')", "scatter_add(0, z, y.to(lib.float32))", "index_put((x[0] > 0,), y[0])",
    ],
)  # fmt: skip
def test_writing_refuses_what_does_not_fit(call: str) -> None:
    refused_alike(expression(f"x.{call}"), numbers(3, 4), numbers(3, 4, seed=1), INDEX)


def test_integers_take_whole_numbers(lib: Any) -> None:
    x = lib.tensor([1, 2, 3])
    assert x.masked_fill(x > 1, 5.0).tolist() == [1, 5, 5]


def test_integers_refuse_fractions() -> None:
    x: Any = refengine.tensor([1, 2])
    with pytest.raises(RuntimeError, match="without loss"):
        x.masked_fill(x > 1, 0.5)


@pytest.mark.parametrize(
    "call",
    [
        "x.index_add_(0, z, y)",
        "x.index_fill_(0, z, 1.0)",
        "x.scatter_(0, z, y)",
        "x.masked_fill_(x > 0, 0)",
        "x.index_put_((z,), y)",
        "x.index_copy_(0, z, y)",
    ],
)
def test_writing_into_a_leaf_that_requires_grad_raises(call: str, lib: Any) -> None:
    x, y, z = lib.ones(2, requires_grad=True), lib.ones(2), lib.tensor([0, 1])
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        expression(call)(lib, x, y, z)
    with lib.no_grad():
        expression(call)(lib, x, y, z)
    assert x._version == 1


WRITES = [
    "x.scatter_add(0, z, y)",
    "x.scatter(0, z, y)",
    "x.index_put((z,), y, accumulate=True)",
    "x.index_add(0, z, y)",
    "x.index_copy(0, z, y)",
]


@pytest.mark.parametrize("call", WRITES)
def test_what_is_written_is_not_saved(call: str) -> None:
    """PyTorch saves the source of the last two, without need."""
    lib: Any = refengine
    x, y = lib.ones(3, requires_grad=True), lib.ones(2, requires_grad=True)
    held = y * 1
    out = expression(call)(lib, x, held, lib.tensor([0, 1]))
    held.zero_()
    out.sum().backward()
    assert y.grad.tolist() == [1, 1]


@pytest.mark.parametrize("call", WRITES)
def test_an_index_that_was_modified_is_noticed(call: str, lib: Any) -> None:
    x, y, z = lib.ones(3), lib.ones(2, requires_grad=True), lib.tensor([0, 1])
    out = expression(call)(lib, x, y, z)
    z.fill_(0)
    with pytest.raises(RuntimeError, match="modified by an in"):
        out.sum().backward()


@pytest.mark.parametrize("name", ["scatter", "scatter_add"])
def test_a_source_longer_than_the_index_gets_zeros_beyond(name: str) -> None:
    """PyTorch computes the value too, but refuses the gradient."""
    lib: Any = refengine
    x, y = (lib.tensor(numbers(3, 4, seed=i), requires_grad=True) for i in (0, 1))
    index, vector = lib.tensor(INDEX)[:, :2], lib.tensor(numbers(3, 4, seed=2))
    long, exact = (getattr(x, name)(1, index, source) for source in (y, y[:2, :2]))
    assert lib.equal(long, exact)
    for wanted in (x, y):
        one, other = (lib.autograd.grad(out, wanted, vector, retain_graph=True)[0] for out in (long, exact))
        assert lib.equal(one, other)


def test_a_mask_that_was_modified_is_noticed(lib: Any) -> None:
    x, mask = lib.ones(2, requires_grad=True), lib.tensor([True, False])
    out = x.masked_fill(mask, 0.0)
    mask.fill_(True)
    with pytest.raises(RuntimeError, match="modified by an in"):
        out.sum().backward()


def test_forward_mode_of_a_written_number_is_zero(lib: Any) -> None:
    forward_ad = __import__(f"{lib.__name__}.autograd.forward_ad", fromlist=["x"])
    with forward_ad.dual_level():
        x = forward_ad.make_dual(lib.ones(3), lib.tensor([1.0, 2.0, 3.0]))
        index = lib.tensor([1])
        outs = (
            x.masked_fill(lib.tensor([False, True, False]), 5.0),
            x.index_fill(0, index, 5.0),
            x.scatter(0, index, 5.0),
        )
        for out in outs:
            assert forward_ad.unpack_dual(out).tangent.tolist() == [1, 0, 3]
