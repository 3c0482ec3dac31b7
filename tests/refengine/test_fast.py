"""The short path of an op's call records, node for node, what the general path records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine
from refengine import catalogue, fast
from refengine.autograd.graph import Node
from refengine.op import Op

PLAIN = [op for op in catalogue.ops() if fast._is_plain(op)]


def operands(op: Op) -> list[tuple[Any, ...]]:
    """Calls of every kind that the short path takes: tracked and untracked inputs, views, Python numbers, 0-d."""
    domain = op.domains[0]
    low, high = max(domain.low, -2.0), min(domain.high, 2.0)
    value = low + 0.6 * (high - low)

    def made(*shape: int, tracked: bool = True) -> refengine.Tensor:
        return refengine.full(shape, value, dtype=refengine.float64, requires_grad=tracked)

    view = (made(4) * 1).view(2, 2)
    parameter = refengine.nn.Parameter(made(2, 2, tracked=False))
    first = [made(2, 2), made(2, 2, tracked=False), made(), view, parameter]
    if len(op.inputs) == 1:
        return [(x,) for x in first]
    return [(x, y) for x in first for y in (made(2), made(2, tracked=False), 0.5, 2, made())]


def described(result: refengine.Tensor) -> Any:
    """What a call left behind, apart from identities that differ anyway."""
    node = result.node
    if node is None:
        return (result.tracked, None)
    assert type(node) is Node
    saved = []
    for i in range(0, len(node.saved), 3):
        value, storage, version = node.saved[i : i + 3]
        is_result = storage is result.storage
        saved.append((np.asarray(value).tolist(), "result" if is_result else id(storage), version))
    return (result.tracked, node.op.name, [id(t) for t in node.targets], saved, node.params, node.shape, node.hooks)


def test_most_elementwise_ops_have_the_short_path() -> None:
    assert {"add", "sub", "mul", "div", "exp", "tanh", "relu", "maximum"} <= {op.name for op in PLAIN}


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_the_short_path_records_what_the_general_path_records(op: Op) -> None:
    for args in operands(op):
        quick, general = op.call(*args), op(*args)
        assert quick.tolist() == general.tolist()
        assert quick.dtype is general.dtype
        assert described(quick) == described(general)


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_the_short_path_records_nothing_without_grad(op: Op) -> None:
    with refengine.no_grad():
        for args in operands(op):
            assert described(op.call(*args)) == (False, None)
