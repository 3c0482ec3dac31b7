"""Subtle behaviour around autograd: each is one function, observed on the reference engine and on PyTorch alike."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import refengine
from tests.refengine.values import leaf

torch = pytest.importorskip("torch")

Behaviour = Callable[[Any], Any]
BEHAVIOURS: list[Behaviour] = []
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def behaviour(function: Behaviour) -> Behaviour:
    """Add to what both engines must do alike."""
    BEHAVIOURS.append(function)
    return function


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the built-in error that it raises."""
    try:
        return call()
    except Exception as error:
        kinds = (RuntimeError, TypeError, IndexError, ValueError)
        return next((kind for kind in kinds if isinstance(error, kind)), Exception)


def assign(target: Any, name: str, value: Any) -> Any:
    """The outcome of an assignment."""
    return outcome(lambda: setattr(target, name, value))


def grads(*tensors: Any) -> list[Any]:
    return [None if t.grad is None else t.grad.tolist() for t in tensors]


# Hooks and retained gradients ----------------------------------------------------------------------------------------


@behaviour
def a_hook_sees_the_value_it_was_registered_on(lib: Any) -> Any:
    x, log = leaf(lib, 1.0, 2.0), []
    y = x * 2
    y.register_hook(lambda g: log.append(("before", g.tolist())))
    y.mul_(3)
    y.register_hook(lambda g: log.append(("after", g.tolist())))
    y.sum().backward()
    return log, grads(x)


@behaviour
def a_retained_gradient_follows_and_hooks_stay(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.mul_(3)
    y.register_hook(lambda g: g * 100)
    y.sum().backward()
    return grads(x, y)


@behaviour
def a_view_retains_its_gradient_through_a_write_to_the_base(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    y = x * 2
    v = y[0:1]
    v.retain_grad()
    y.mul_(3)
    (y.sum() + (v * 5).sum()).backward()
    return grads(x, v)


@behaviour
def a_view_retains_its_gradient_through_a_write_to_itself(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    y = x * 2
    v = y[0:1]
    v.retain_grad()
    v.mul_(3)
    (y.sum() + (v * 5).sum()).backward()
    return grads(x, v)


@behaviour
def hooks_of_a_base_around_a_write_to_its_view(lib: Any) -> Any:
    x, log = leaf(lib, 1.0, 2.0), []
    y = x * 2
    y.register_hook(lambda g: log.append(("before", g.tolist())))
    y.retain_grad()
    y[0:1].mul_(3)
    y.register_hook(lambda g: log.append(("after", g.tolist())))
    y.sum().backward()
    return log, grads(x, y)


@behaviour
def a_hook_of_a_view_before_a_write_to_it(lib: Any) -> Any:
    x, log = leaf(lib, 1.0, 2.0), []
    y = x * 2
    v = y[0:1]
    v.register_hook(lambda g: log.append(g.tolist()))
    v.mul_(3)
    (y.sum() + (v * 5).sum()).backward()
    return log, grads(x)


@behaviour
def a_hook_that_raises_leaves_the_modes_intact(lib: Any) -> Any:
    x = leaf(lib, 2.0)

    def hook(g: Any) -> None:
        raise ValueError

    found = []
    for target in (x * 2, x):
        handle = target.register_hook(hook)
        found.append(outcome((target * 2).sum().backward))
        handle.remove()
    (x * 2).sum().backward()
    return found, lib.is_grad_enabled(), (x * 1).requires_grad, grads(x)


@behaviour
def hooks_run_in_the_grad_mode_of_the_pass(lib: Any) -> Any:
    x, log = leaf(lib, 2.0), []
    y = x * 2
    for tensor in (x, y):
        tensor.register_hook(lambda g: log.append((lib.is_grad_enabled(), g.requires_grad)))
    (y * y).sum().backward(retain_graph=True)
    (y * y).sum().backward(create_graph=True)
    return log


@behaviour
def a_hook_may_not_return_another_type_or_shape(lib: Any) -> Any:
    found = []
    for wrong in (3.0, lib.ones(2, dtype=lib.float64)):
        y = leaf(lib, 2.0) * 2
        y.register_hook(lambda g, wrong=wrong: wrong)
        found.append(outcome(y.sum().backward))
    return found


# Accumulated gradients -----------------------------------------------------------------------------------------------


@behaviour
def grad_shares_no_memory_with_the_cotangent(lib: Any) -> Any:
    x, g = leaf(lib, 1.0, 2.0), lib.ones(2, dtype=lib.float64)
    x.backward(g)
    x.view(2).backward(g)
    x.grad.add_(5)
    return g.tolist(), grads(x)


@behaviour
def grads_of_two_leaves_share_no_memory(lib: Any) -> Any:
    x, y = leaf(lib, 1.0, 2.0), leaf(lib, 1.0, 2.0)
    (x + y).backward(lib.ones(2, dtype=lib.float64))
    x.grad.add_(5)
    return grads(x, y)


@behaviour
def grad_has_the_strides_of_a_dense_leaf(lib: Any) -> Any:
    dense = lib.arange(6, dtype=lib.float64).view(2, 3).t().detach().requires_grad_()
    expanded = lib.ones(1, dtype=lib.float64).expand(3).detach().requires_grad_()
    of_expanded = leaf(lib, 1.0, 2.0)
    for x in (dense, expanded, of_expanded.expand(3, 2)):
        (x * 2).sum().backward()
    return [tuple(x.grad.stride()) for x in (dense, expanded, of_expanded)]


@behaviour
def grad_takes_only_tensors_like_its_own(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    wrong = (lib.ones(3, dtype=lib.float64), lib.ones(2, dtype=lib.float32), 1.0, x)
    found = [assign(x, "grad", value) for value in wrong]
    x.grad = lib.ones(2, dtype=lib.float64)
    (x * 2).sum().backward()
    kept = grads(x)
    x.grad = None
    return found, kept, x.grad, assign(lib.ones(2), "grad", lib.ones(2))


@behaviour
def backward_on_one_graph_for_different_inputs(lib: Any) -> Any:
    x, y = leaf(lib, 2.0), leaf(lib, 3.0)
    z = (x * y).sum()
    z.backward(inputs=[x], retain_graph=True)
    first = grads(x, y)
    z.backward(inputs=[y])
    return first, grads(x, y)


@behaviour
def backward_into_a_non_leaf(lib: Any) -> Any:
    x = leaf(lib, 2.0)
    y = x * 3
    (y * y).sum().backward(inputs=[y], retain_graph=True)
    first = grads(x, y)
    (y * y).sum().backward(inputs=[y, x])
    return first, grads(x, y)


@behaviour
def backward_with_odd_inputs(lib: Any) -> Any:
    x, y = leaf(lib, 2.0), leaf(lib, 3.0)
    found = [outcome(partial((x * 2).sum().backward, inputs=inputs)) for inputs in ([], [y], [x, x])]
    return found, grads(x, y)


@behaviour
def a_partial_backward_frees_only_what_it_ran(lib: Any) -> Any:
    x, y = leaf(lib, 2.0), leaf(lib, 3.0)
    a, b = x.exp(), y.exp()
    lib.autograd.grad(a.sum() + b.sum(), x)
    return outcome(lambda: b.sum().backward()), outcome(lambda: a.sum().backward())


@behaviour
def grad_of_a_tensor_in_itself(lib: Any) -> Any:
    x = leaf(lib, 2.0)
    y = x * 3
    one = lib.ones(1, dtype=lib.float64)
    return [g.tolist() for g in (*lib.autograd.grad(y, [y, x, x], one), *lib.autograd.grad(x, [x], one))]


# Leaves, detaching, versions -----------------------------------------------------------------------------------------


@behaviour
def a_write_to_a_leaf_without_grad_makes_a_save_stale(lib: Any) -> Any:
    x = leaf(lib, 2.0)
    y, z = (x * x).sum(), (x * 3).sum()
    with lib.no_grad():
        x.add_(1)
    return outcome(lambda: y.backward()), outcome(lambda: z.backward()), x._version, x.is_leaf, grads(x)


@behaviour
def data_writes_are_unseen_and_detached_writes_seen(lib: Any) -> Any:
    found = []
    for unseen in (True, False):
        x = leaf(lib, 2.0)
        y = (x * x).sum()
        (x.data if unseen else x.detach()).add_(1)
        found.append((outcome(y.backward), x._version, x.tolist()))
    return found


@behaviour
def data_may_be_replaced(lib: Any) -> Any:
    x = leaf(lib, 2.0, 3.0)
    x.data = lib.ones(3, dtype=lib.float64)
    (x * x).sum().backward()
    return grads(x), assign(x, "data", lib.ones(2, dtype=lib.int64)), x.data.requires_grad, x.data._is_view()


@behaviour
def detaching_in_place(lib: Any) -> Any:
    y = leaf(lib, 2.0, 3.0) * 2
    v = y[0:1]
    of_view = outcome(lambda: y[0].detach_())
    same = y.detach_() is y
    return of_view, same, y.requires_grad, y.is_leaf, y.grad_fn, v.requires_grad, leaf(lib, 1.0).detach_().requires_grad


@behaviour
def requires_grad_of_a_non_leaf(lib: Any) -> Any:
    y = leaf(lib, 2.0) * 2
    return (
        outcome(lambda: y.requires_grad_(False)),
        y.requires_grad_() is y,
        outcome(lambda: lib.tensor([1]).requires_grad_()),
    )


@behaviour
def requires_grad_cleared_after_use(lib: Any) -> Any:
    x = leaf(lib, 2.0)
    y = (x * x).sum()
    x.requires_grad_(False)
    return outcome(lambda: y.backward()), grads(x)


@behaviour
def a_view_that_is_a_leaf_refuses_writes(lib: Any) -> Any:
    x = lib.ones(3, dtype=lib.float64)
    v = x[1:].requires_grad_()
    return v.is_leaf, x.requires_grad, outcome(lambda: v.mul_(2)), x.mul_(2).tolist(), v.requires_grad


# Items ---------------------------------------------------------------------------------------------------------------


@behaviour
def setting_items_broadcasts_and_is_recorded(lib: Any) -> Any:
    x, w, z = lib.zeros(2, 3, dtype=lib.float64), leaf(lib, 1.0, 2.0, 3.0), leaf(lib, 1.0, 2.0, 3.0)
    x[:] = w
    y = z * 1
    y[1] = 5
    y[0] = y[2]
    y[y > 4] = 0
    y[lib.tensor([0, 0])] = w[:1]
    ((x * x).sum() + (y * y).sum()).backward()
    x[...] = lib.ones(1, 1, 3, dtype=lib.float64)
    return x.tolist(), y.tolist(), grads(w, z)


@behaviour
def setting_items_that_do_not_fit(lib: Any) -> Any:
    found = []
    for target, value in ((lib.zeros(3), lib.ones(2)), (leaf(lib, 1.0, 2.0), 1), (lib.zeros(1).expand(3), 1)):
        found.append(outcome(partial(target.__setitem__, slice(None), value)))
    whole = lib.zeros(2, dtype=lib.int64)
    whole[0], whole[1] = 1.7, lib.tensor(2.9)
    return found, whole.tolist()


@behaviour
def iterating_unpacks_views_that_may_not_be_written_to(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0, 3.0)
    a, b, c = x
    (a * b + c).backward()
    (d,) = leaf(lib, 1.0) * 1
    rows = [tuple(row.shape) for row in lib.zeros(2, 0)]
    return grads(x), a._is_view(), outcome(lambda: d.mul_(2)), rows, outcome(lambda: list(lib.tensor(1.0)))


@behaviour
def length_truth_and_membership(lib: Any) -> Any:
    empty, several = lib.tensor([]), lib.tensor([1.0, 2.0])
    lengths = [outcome(partial(len, t)) for t in (several, lib.zeros(0, 2), lib.tensor(1.0))]
    truths = [outcome(partial(bool, t)) for t in (empty, several, lib.tensor([[0.0]]), lib.tensor(float("nan")))]
    return lengths, truths, [outcome(partial(several.__contains__, v)) for v in (2, 3.0, lib.tensor(1.0), "a")]


# Copies --------------------------------------------------------------------------------------------------------------


@behaviour
def a_deep_copy_has_its_own_values_and_grad(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    (x * x).sum().backward()
    y, again = copy.deepcopy([x, x])
    y.grad.add_(1)
    layout = tuple(copy.deepcopy(lib.ones(3, 2).t()).stride())
    return (
        y.tolist(),
        y.requires_grad,
        y.is_leaf,
        grads(x, y),
        y is again,
        layout,
        outcome(lambda: copy.deepcopy(x * 1)),
    )


@behaviour
def a_shallow_copy_is_a_leaf_over_the_same_memory(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    x.tag = "tag"
    given = (x, x * 1, lib.nn.Parameter(lib.ones(2)), lib.arange(6.0).view(2, 3).t())
    copies = [copy.copy(t) for t in given]
    for t in copies:
        t.detach().add_(1)
    found = [
        (type(c).__name__, c.tolist() == t.tolist(), c.requires_grad, c.is_leaf, tuple(c.stride()), t._version)
        for t, c in zip(given, copies, strict=True)
    ]
    return found, copies[0].tag


@behaviour
def pickling_keeps_values_layout_and_requires_grad(lib: Any) -> Any:
    x = leaf(lib, 1.0, 2.0)
    given = (
        x,
        lib.arange(6.0).view(2, 3).t(),
        lib.tensor([1, 2]),
        lib.nn.Parameter(lib.ones(2)),
        x * 1,
        lib.ones(2, 3, 4).permute(2, 0, 1),
    )
    found = [pickle.loads(pickle.dumps(t)) for t in given]
    return [(type(t).__name__, t.tolist(), t.requires_grad, t.is_leaf, tuple(t.stride())) for t in found]


# What differs, and docs/refengine.md says so -------------------------------------------------------------------------


def an_overlapping_write(lib: Any) -> Any:
    x = lib.arange(4.0)
    return outcome(lambda: x.__setitem__(slice(1, None), x[:-1])), x.tolist()


def data_replaced_after_a_save(lib: Any) -> Any:
    x = leaf(lib, 2.0)
    y = (x * x).sum()
    x.data = lib.ones(1, dtype=lib.float64)
    y.backward()
    return grads(x)


def deep_copies_of_a_tensor_and_its_view(lib: Any) -> Any:
    x = lib.ones(2)
    a, b = copy.deepcopy([x, x[1:]])
    return a.add_(1).tolist(), b.tolist()


def a_hook_of_a_view_whose_base_was_written_to(lib: Any) -> Any:
    log: list[Any] = []
    y = leaf(lib, 1.0, 2.0) * 2
    v = y[0:1]
    v.register_hook(lambda g: log.append("before"))
    y.mul_(3)
    v.register_hook(lambda g: log.append("after"))
    v.sum().backward()
    return log


def floor_divide_of_what_requires_grad(lib: Any) -> Any:
    return leaf(lib, 3.0).floor_divide(2.0).requires_grad


DIFFERENT: dict[Behaviour, tuple[Any, Any]] = {
    an_overlapping_write: ((None, [0.0, 0.0, 1.0, 2.0]), (RuntimeError, [0.0, 1.0, 2.0, 3.0])),
    data_replaced_after_a_save: ([[4.0]], [[2.0]]),
    deep_copies_of_a_tensor_and_its_view: (([2.0, 2.0], [1.0]), ([2.0, 2.0], [2.0])),
    a_hook_of_a_view_whose_base_was_written_to: (["after"], []),
    floor_divide_of_what_requires_grad: (False, True),
}
"""Behaviour -> what is observed here and in PyTorch."""


@pytest.mark.parametrize("observe", DIFFERENT, ids=[observe.__name__ for observe in DIFFERENT])
def test_a_documented_difference_is_still_one(observe: Behaviour) -> None:
    assert (observe(refengine), observe(torch)) == DIFFERENT[observe]


@pytest.mark.parametrize("observe", BEHAVIOURS, ids=[observe.__name__ for observe in BEHAVIOURS])
def test_both_engines_behave_alike(observe: Behaviour) -> None:
    assert observe(refengine) == observe(torch)


# Reductions of nothing, of one entry and of a number -----------------------------------------------------------------

REDUCTIONS = (
    "sum", "mean", "prod", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp", "all", "any", "argmax",
    "argmin", "count_nonzero", "nansum", "cumsum", "cumprod", "softmax", "log_softmax",
)  # fmt: skip
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (0,), (2, 0), (0, 2))
CALLS: tuple[dict[str, Any], ...] = (
    {},
    {"dim": 0},
    {"dim": -1},
    {"dim": -1, "keepdim": True},
    {"dim": (0,)},
    {"dim": ()},
)
ODD = {
    "logsumexp": "over no axis PyTorch's gradient raises",
    "argmax": "an axis is taken in a tuple here, for a number",
    "argmin": "an axis is taken in a tuple here, for a number",
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_degenerate_reductions_are_alike(name: str) -> None:
    for shape in SHAPES:
        for call in CALLS:
            ours, theirs = (outcome(partial(reduced, lib, name, shape, call)) for lib in (refengine, torch))
            if name in ODD and isinstance(call.get("dim"), tuple):
                continue
            if isinstance(theirs, type):
                assert isinstance(ours, type), (shape, call, ours)
            else:
                np.testing.assert_equal(ours, theirs, err_msg=f"{shape} {call}")


def reduced(lib: Any, name: str, shape: tuple[int, ...], call: dict[str, Any]) -> Any:
    """Values, shape, dtype and gradient."""
    x = lib.full(shape, 2.0, dtype=lib.float64).requires_grad_()
    result = getattr(x, name)(**call)
    results = list(result) if isinstance(result, tuple) else [result]
    facts = [(r.tolist(), tuple(r.shape), str(r.dtype).rpartition(".")[2]) for r in results]
    if not results[0].requires_grad:
        return facts
    return facts, lib.autograd.grad(results[0].sum(), x)[0].tolist()
