"""The comparison with PyTorch's modules agrees in every row, covers every module, and sees a difference."""

from __future__ import annotations

import pytest

import refengine as re
from refengine import nn
from tools import compare_nn

pytest.importorskip("torch")

# What is no layer, loss or optimizer with numbers of its own.
OTHERS = {"Buffer", "Module", "ModuleDict", "ModuleList", "Parameter", "ParameterDict", "ParameterList"}


@pytest.fixture(scope="module")
def rows() -> list[compare_nn.Row]:
    return [row for _, found in compare_nn.compare() for row in found]


def test_every_row_agrees(rows: list[compare_nn.Row]) -> None:
    assert [str(row) for row in rows if not row.agrees] == []


def test_every_module_and_optimizer_has_a_row(rows: list[compare_nn.Row]) -> None:
    names = {name for name, value in vars(nn).items() if isinstance(value, type)} - OTHERS
    names |= {"SGD", "Adam", "AdamW"}
    assert names == {row.name.partition("(")[0] for row in rows}


def test_the_committed_page_has_these_rows(rows: list[compare_nn.Row]) -> None:
    page = compare_nn.PAGE.read_text(encoding="utf-8")
    assert [row.name for row in rows if f"| `{row.name}` |" not in page] == []
    assert "differs" not in page


def test_a_difference_is_seen() -> None:
    one = re.tensor([1.0, 2.0], dtype=re.float64)
    far = compare_nn.difference([one], [one + 1e-9])
    row = compare_nn.Row("x", (far, None, 0.0), True)
    assert not row.agrees
    assert str(row) == "| `x` | 5e-10 | – | 0 | same |\n"
    assert not compare_nn.Row("x", (0.0,), False).agrees


def test_other_names_in_the_state_are_seen() -> None:
    import torch

    assert compare_nn.same_state(nn.Linear(2, 1), torch.nn.Linear(2, 1))
    assert not compare_nn.same_state(nn.Linear(2, 1), torch.nn.Linear(2, 1, bias=False))
