"""Compares every layer, loss and optimizer of refengine with PyTorch, and writes docs/nn_table.md.

Run ``python -m tools.compare_nn``. Each row is one configuration: the same weights and inputs in float64, values and
gradients (of inputs and parameters) in train and in eval mode, buffers, and the keys of the state. With ``--check``
nothing is written; the exit status says whether all agree.
"""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import refengine as re

PAGE = Path(__file__).resolve().parents[1] / "docs" / "nn_table.md"
CLOSE = 1e-12
"""Relative difference up to which two results count as the same: a thousand roundings of float64, for long sums."""
STEPS = 10

Make = Callable[[Any], Any]
Shape = tuple[int, ...]

INTRODUCTION = """# Modules beside PyTorch's

Written by `python -m tools.compare_nn` on {date}: refengine {ours}, NumPy {numpy}, PyTorch {torch}, Python {python}.

Each row is one configuration, built in both libraries, with the same weights and inputs in float64. A number is the
largest difference, relative to the largest entry of what is compared; 0 means that all digits agree. *Gradients* are
those of inputs and parameters for a random cotangent. *State* says whether names, shapes and order of the state are the
same, and each library loads the other's. Random streams differ by design, so dropout stands here with the
probabilities that leave no choice.
"""
LAYERS = """
## Layers

| layer | train: values | train: gradients | eval: values | eval: gradients | buffers | state |
|---|---|---|---|---|---|---|
"""
LOSSES = """
## Losses

| loss | value | gradients | state |
|---|---|---|---|
"""
OPTIMIZERS = """
## Optimizers

After ten steps on one function of three parameters.

| optimizer | parameters | state | keys of the state and of its groups |
|---|---|---|---|
"""


def numbers(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Float64 numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def each(names: str, shape: Shape) -> dict[str, tuple[Make, Shape]]:
    """Layers without further options, by name."""
    return {f"{name}()": (lambda nn, name=name: getattr(nn, name)(), shape) for name in names.split()}  # type: ignore[misc]


IMAGE: Shape = (3, 4, 6, 5)
LAYER_CASES: dict[str, tuple[Make, Shape]] = {
    "Linear(4, 3)": (lambda nn: nn.Linear(4, 3), (5, 4)),
    "Linear(4, 3, bias=False)": (lambda nn: nn.Linear(4, 3, bias=False), (2, 5, 4)),
    "Conv2d(4, 6, 3)": (lambda nn: nn.Conv2d(4, 6, 3), IMAGE),
    "Conv2d(4, 6, (2, 3), stride=2, padding=1)": (lambda nn: nn.Conv2d(4, 6, (2, 3), stride=2, padding=1), IMAGE),
    "Conv2d(4, 8, 3, dilation=2, padding=2, groups=4, bias=False)": (
        lambda nn: nn.Conv2d(4, 8, 3, dilation=2, padding=2, groups=4, bias=False),
        IMAGE,
    ),
    "Conv2d(4, 2, 3, padding='same')": (lambda nn: nn.Conv2d(4, 2, 3, padding="same"), IMAGE),
    **{
        f"Conv2d(4, 2, 3, padding=1, padding_mode={mode!r})": (
            lambda nn, mode=mode: nn.Conv2d(4, 2, 3, padding=1, padding_mode=mode),  # type: ignore[misc]
            IMAGE,
        )
        for mode in ("reflect", "replicate", "circular")
    },
    "MaxPool2d(2)": (lambda nn: nn.MaxPool2d(2), IMAGE),
    "MaxPool2d(3, 2, 1, ceil_mode=True)": (lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True), IMAGE),
    "AvgPool2d(2)": (lambda nn: nn.AvgPool2d(2), IMAGE),
    "AvgPool2d(3, 2, 1, True, False)": (lambda nn: nn.AvgPool2d(3, 2, 1, True, False), IMAGE),
    "BatchNorm1d(4)": (lambda nn: nn.BatchNorm1d(4), (5, 4)),
    "BatchNorm1d(4), sequences": (lambda nn: nn.BatchNorm1d(4), (5, 4, 3)),
    "BatchNorm1d(4, momentum=None, affine=False)": (
        lambda nn: nn.BatchNorm1d(4, momentum=None, affine=False),
        (5, 4),
    ),
    "BatchNorm2d(4)": (lambda nn: nn.BatchNorm2d(4), IMAGE),
    "BatchNorm2d(4, track_running_stats=False)": (lambda nn: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "LayerNorm(4)": (lambda nn: nn.LayerNorm(4), (5, 4)),
    "LayerNorm((6, 5), bias=False)": (lambda nn: nn.LayerNorm((6, 5), bias=False), IMAGE),
    "Dropout(0)": (lambda nn: nn.Dropout(0.0), (5, 4)),
    "Dropout(1)": (lambda nn: nn.Dropout(1.0), (5, 4)),
    "Flatten()": (lambda nn: nn.Flatten(), IMAGE),
    "Unflatten(1, (2, 2))": (lambda nn: nn.Unflatten(1, (2, 2)), IMAGE),
    **each("Identity ReLU ReLU6 Hardtanh LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish", (5, 4)),
    **each("Hardswish Sigmoid Tanh Softplus Softsign LogSigmoid", (5, 4)),
    "PReLU(4)": (lambda nn: nn.PReLU(4), (5, 4)),
    "GELU(approximate='tanh')": (lambda nn: nn.GELU(approximate="tanh"), (5, 4)),
    "GLU()": (lambda nn: nn.GLU(), (5, 4)),
    "Softmax(1)": (lambda nn: nn.Softmax(1), (5, 4)),
    "LogSoftmax(1)": (lambda nn: nn.LogSoftmax(1), (5, 4)),
    "Softmin(1)": (lambda nn: nn.Softmin(1), (5, 4)),
    # Without a bias before the batch norm, whose gradient would be round-off about 0.
    "Sequential(Conv2d, BatchNorm2d, ReLU, MaxPool2d, Flatten, Linear)": (
        lambda nn: nn.Sequential(
            nn.Conv2d(4, 3, 3, bias=False),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(6, 2),
        ),
        IMAGE,
    ),
}
EMBEDDINGS: dict[str, Make] = {
    "Embedding(5, 3)": lambda nn: nn.Embedding(5, 3),
    "Embedding(5, 3, padding_idx=1)": lambda nn: nn.Embedding(5, 3, padding_idx=1),
    "Embedding(5, 3, scale_grad_by_freq=True)": lambda nn: nn.Embedding(5, 3, scale_grad_by_freq=True),
}
CLASSES, REALS = np.array([0, 2, 1, 2, 0]), numbers(5, 3, seed=3)
PARTS = np.random.default_rng(7).dirichlet(np.ones(3), size=5)
WEIGHT = [0.5, 1.0, 2.0]


def weight(lib: Any) -> Any:
    """One factor a class."""
    return lib.tensor(WEIGHT, dtype=lib.float64)


# The loss, its input from any numbers, its target.
LOSS_CASES: dict[str, tuple[Make, str, Any]] = {
    **{
        f"{name}(reduction={reduction!r})": (
            lambda lib, name=name, reduction=reduction: getattr(lib.nn, name)(reduction=reduction),  # type: ignore[misc]
            "",
            REALS,
        )
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
        for reduction in ("mean", "sum", "none")
    },
    "SmoothL1Loss(beta=0.5)": (lambda lib: lib.nn.SmoothL1Loss(beta=0.5), "", REALS),
    "HuberLoss(delta=0.7)": (lambda lib: lib.nn.HuberLoss(delta=0.7), "", REALS),
    "BCELoss()": (lambda lib: lib.nn.BCELoss(), "sigmoid", PARTS),
    "BCELoss(weight)": (lambda lib: lib.nn.BCELoss(weight(lib)), "sigmoid", PARTS),
    "BCEWithLogitsLoss()": (lambda lib: lib.nn.BCEWithLogitsLoss(), "", PARTS),
    "BCEWithLogitsLoss(weight, pos_weight)": (
        lambda lib: lib.nn.BCEWithLogitsLoss(weight(lib), pos_weight=weight(lib)),
        "",
        PARTS,
    ),
    "NLLLoss()": (lambda lib: lib.nn.NLLLoss(), "log_softmax", CLASSES),
    "NLLLoss(weight, ignore_index=2)": (
        lambda lib: lib.nn.NLLLoss(weight(lib), ignore_index=2),
        "log_softmax",
        CLASSES,
    ),
    "CrossEntropyLoss()": (lambda lib: lib.nn.CrossEntropyLoss(), "", CLASSES),
    "CrossEntropyLoss(reduction='none')": (lambda lib: lib.nn.CrossEntropyLoss(reduction="none"), "", CLASSES),
    "CrossEntropyLoss(weight, ignore_index=0)": (
        lambda lib: lib.nn.CrossEntropyLoss(weight(lib), ignore_index=0),
        "",
        CLASSES,
    ),
    "CrossEntropyLoss(weight, label_smoothing=0.1)": (
        lambda lib: lib.nn.CrossEntropyLoss(weight(lib), label_smoothing=0.1),
        "",
        CLASSES,
    ),
    "CrossEntropyLoss(), probabilities": (lambda lib: lib.nn.CrossEntropyLoss(), "", PARTS),
    "KLDivLoss(reduction='batchmean')": (lambda lib: lib.nn.KLDivLoss(reduction="batchmean"), "log_softmax", PARTS),
    "KLDivLoss(reduction='sum', log_target=True)": (
        lambda lib: lib.nn.KLDivLoss(reduction="sum", log_target=True),
        "log_softmax",
        np.log(PARTS),
    ),
}
OPTIMIZER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})": (name, options)
    for name, options in (
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
        ("SGD", {"lr": 0.01, "momentum": 0.5, "maximize": True}),
        ("Adam", {"lr": 0.05}),
        ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
        ("Adam", {"lr": 0.05, "amsgrad": True}),
        ("Adam", {"lr": 0.05, "maximize": True}),
        ("AdamW", {"lr": 0.05}),
        ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    )
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what is compared, the differences, and whether what is no number is the same."""

    name: str
    differences: tuple[float | None, ...]
    is_same: bool

    @property
    def agrees(self) -> bool:
        """Whether everything is the same, but for rounding."""
        return self.is_same and all(one is None or one <= CLOSE for one in self.differences)

    def __str__(self) -> str:
        cells = ["–" if one is None else f"{one:.0e}" if one else "0" for one in self.differences]
        return f"| `{self.name}` | {' | '.join(cells)} | {'same' if self.is_same else '**differs**'} |\n"


def difference(mine: list[Any], theirs: list[Any]) -> float | None:
    """The largest difference of two lists of tensors, each relative to its largest entry; None where there is none."""
    worst = None
    for a, b in zip(mine, theirs, strict=True):
        one, other = (np.asarray(t.detach().numpy(), dtype=np.float64) for t in (a, b))
        assert one.shape == other.shape
        apart = np.abs(one - other).max(initial=0.0) / max(np.abs(other).max(initial=0.0), 1e-300)
        worst = max(worst or 0.0, float(apart))
    return worst


def same_state(ours: Any, theirs: Any) -> bool:
    """Whether both states have the same names and shapes in the same order, and each library loads the other's."""
    mine, other = ours.state_dict(), theirs.state_dict()
    if [(n, tuple(t.shape)) for n, t in mine.items()] != [(n, tuple(t.shape)) for n, t in other.items()]:
        return False
    ours.load_state_dict({name: re.from_numpy(tensor.numpy().copy()) for name, tensor in other.items()})
    theirs.load_state_dict(given(mine))
    return True


def given(state: Any) -> dict[str, Any]:
    """One of our states as PyTorch's tensors."""
    import torch

    return {name: torch.from_numpy(value.numpy().copy()) for name, value in state.items()}


def pair(make: Make) -> tuple[Any, Any]:
    """A module in both libraries, with the same weights."""
    import torch

    ours, theirs = make(re.nn).double(), make(torch.nn).double()
    for number, parameter in enumerate(ours.parameters()):
        re.nn.init.normal_(parameter, generator=re.Generator().manual_seed(number))
    theirs.load_state_dict(given(ours.state_dict()))
    return ours, theirs


def layer_rows() -> Iterator[Row]:
    """Every layer in both modes."""
    import torch

    for name, (make, shape) in LAYER_CASES.items():
        ours, theirs = pair(make)
        found: list[float | None] = []
        for training in (True, False):
            results = [
                run(lib, module.train(training), lib.tensor(numbers(*shape), requires_grad=True))
                for lib, module in ((re, ours), (torch, theirs))
            ]
            found += [difference(mine, other) for mine, other in zip(*results, strict=True)]
        found.append(difference(list(ours.buffers()), list(theirs.buffers())))
        yield Row(name, tuple(found), same_state(ours, theirs))
    for name, make in EMBEDDINGS.items():
        ours, theirs = pair(make)
        indices = [[0, 1], [1, 4]]
        results = [run(lib, module, lib.tensor(indices)) for lib, module in ((re, ours), (torch, theirs))]
        both = [difference(mine, other) for mine, other in zip(*results, strict=True)]
        yield Row(name, (*both, *both, None), same_state(ours, theirs))


def run(lib: Any, module: Any, x: Any) -> tuple[list[Any], list[Any]]:
    """The value of a module, and the gradients of its input and parameters."""
    y = module(x)
    wanted = [t for t in (x, *module.parameters()) if t.requires_grad]
    return [y], list(lib.autograd.grad(y, wanted, lib.tensor(numbers(*y.shape, seed=1))))


def loss_rows() -> Iterator[Row]:
    """Every loss."""
    import torch

    for name, (make, before, target) in LOSS_CASES.items():
        results, modules = [], []
        for lib in (re, torch):
            x = lib.tensor(numbers(5, 3), requires_grad=True)
            loss = make(lib)
            score = x if not before else x.sigmoid() if before == "sigmoid" else x.log_softmax(1)
            value = loss(score, lib.tensor(target))
            results.append(([value], list(lib.autograd.grad(value.sum(), [x]))))
            modules.append(loss)
        both = [difference(mine, other) for mine, other in zip(*results, strict=True)]
        yield Row(name, tuple(both), same_state(*modules))


def optimizer_rows() -> Iterator[Row]:
    """Every optimizer."""
    import torch

    for name, (kind, options) in OPTIMIZER_CASES.items():
        results, states = [], []
        for lib in (re, torch):
            params = [lib.nn.Parameter(lib.tensor(numbers(*shape))) for shape in ((3, 2), (4,), ())]
            optimizer = getattr(lib.optim, kind)(params, **options)
            for number in range(STEPS):
                optimizer.zero_grad()
                first, second, third = params
                ((first.sin().sum() * third).exp() + ((second - number) ** 2).sum() * 0.1 + third * third).backward()
                optimizer.step()
            state = optimizer.state_dict()
            results.append((params, [value for entry in state["state"].values() for value in entry.values()]))
            states.append((state["param_groups"], {number: list(entry) for number, entry in state["state"].items()}))
        both = [difference(mine, other) for mine, other in zip(*results, strict=True)]
        yield Row(name, tuple(both), states[0] == states[1])


def page(parts: list[tuple[str, list[Row]]]) -> str:
    """The text of docs/nn_table.md."""
    import torch

    versions = {
        "date": datetime.date.today().isoformat(),
        "ours": _own_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.partition("+")[0],
        "python": platform.python_version(),
    }
    tables = "".join(head + "".join(map(str, rows)) for head, rows in parts)
    return INTRODUCTION.format(**versions) + tables


def _own_version() -> str:
    from importlib.metadata import version

    return version("pytest-gradcheck")


def compare() -> list[tuple[str, list[Row]]]:
    """All rows, by table."""
    return [
        (LAYERS, list(layer_rows())),
        (LOSSES, list(loss_rows())),
        (OPTIMIZERS, list(optimizer_rows())),
    ]


def main(arguments: list[str]) -> int:
    """Compare, write the page unless only checking, and name what differs."""
    parts = compare()
    if "--check" not in arguments:
        PAGE.write_text(page(parts), encoding="utf-8")
    rows = [row for _, found in parts for row in found]
    differing = [row for row in rows if not row.agrees]
    for row in differing:
        print(f"differs: {row}", end="")
    print(f"{len(rows) - len(differing)} of {len(rows)} rows agree")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
