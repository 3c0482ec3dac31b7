"""The checkers that take part, each as one way to ask whether a function's gradient is right.

A checker that accepts everything would be fast: each must first accept a right gradient and refuse one that is doubled.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.functions import Checked, composite
from benchmarks.peers import AUTOGRAD, JAX, REFENGINE, TORCH, Function, Peer, detached

Ask = Callable[[], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Checker:
    """One of them.

    Attributes
    ----------
    name : str
    peer : Peer
        Whose functions it checks.
    ask : callable
        From a namespace, a function and a point to a question whose answer is whether the gradient is right.
    most : int
        The largest size at which it is asked: some take minutes beyond.
    """

    name: str
    peer: Peer
    ask: Callable[[Any, Function, npt.NDArray[np.float64]], Ask]
    most: int = 1_000


def question(checker: Checker, checked: Checked, *, doubled: bool = False) -> Ask:
    """Whether the gradient is right; or whether it is when it is twice as large as it should be."""
    library = checker.peer.namespace()
    function = checked.of(library)
    if not doubled:
        return checker.ask(library, function, checked.point)
    return checker.ask(library, lambda x: function(x + (x - detached(library, x))), checked.point)


@cache
def require_sight(checker: Checker) -> None:
    """Raise where a checker refuses what is right or accepts what is wrong."""
    checked = composite(10)
    if not question(checker, checked)():
        raise AssertionError(f"{checker.name}: expected it to accept {checked.name} of {checked.size} numbers")
    if question(checker, checked, doubled=True)():
        raise AssertionError(f"{checker.name}: expected it to refuse a doubled gradient of {checked.name}")


def _ours(**options: Any) -> Callable[[Any, Function, Any], Ask]:
    def of(library: Any, function: Function, point: Any) -> Ask:
        import gradcheck

        leaf = library.from_numpy(np.array(point)).requires_grad_()
        return lambda: bool(gradcheck.check(function, leaf, **options).ok)

    return of


def _torch(name: str, **options: Any) -> Callable[[Any, Function, Any], Ask]:
    def of(library: Any, function: Function, point: Any) -> Ask:
        leaf = library.from_numpy(np.array(point)).requires_grad_()
        check = getattr(library.autograd, name)
        return lambda: bool(check(function, (leaf,), raise_exception=False, **options))

    return of


def _jax(order: int) -> Callable[[Any, Function, Any], Ask]:
    def of(library: Any, function: Function, point: Any) -> Ask:
        from jax.test_util import check_grads

        given = library.asarray(point)
        return lambda: _raises_not(lambda: check_grads(function, (given,), order=order, modes=["rev"]))

    return of


def _autograd(order: int) -> Callable[[Any, Function, Any], Ask]:
    def of(library: Any, function: Function, point: Any) -> Ask:
        from autograd.test_util import check_grads

        def ask() -> bool:
            np.random.seed(0)  # its directions are NumPy's global ones
            return _raises_not(lambda: check_grads(function, modes=["rev"], order=order)(point))

        return ask

    return of


def _raises_not(check: Callable[[], object]) -> bool:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            check()
        except AssertionError:
            return False
    return True


FIRST = (
    Checker("torch slow", TORCH, _torch("gradcheck")),
    Checker("torch fast", TORCH, _torch("gradcheck", fast_mode=True)),
    Checker("ours, full", REFENGINE, _ours(claims="GC101", mode="full")),
    Checker("ours, directions", REFENGINE, _ours(claims="GC101")),
    Checker("ours, every claim", REFENGINE, _ours()),
    Checker("ours through PyTorch, full", TORCH, _ours(claims="GC101", mode="full")),
    Checker("ours through PyTorch, directions", TORCH, _ours(claims="GC101")),
    Checker("ours through PyTorch, every claim", TORCH, _ours()),
    Checker("JAX check_grads", JAX, _jax(1)),
    Checker("autograd check_grads", AUTOGRAD, _autograd(1)),
)
"""Checkers of the first order; those named ours, but for every claim, ask for the one about gradients."""
SECOND = (
    Checker("gradgradcheck slow", TORCH, _torch("gradgradcheck"), most=100),
    Checker("gradgradcheck fast", TORCH, _torch("gradgradcheck", fast_mode=True)),
    Checker("ours", REFENGINE, _ours(claims="GC104")),
    Checker("ours through PyTorch", TORCH, _ours(claims="GC104")),
    Checker("JAX check_grads, both orders", JAX, _jax(2)),
    Checker("autograd check_grads, both orders", AUTOGRAD, _autograd(2)),
)
"""Checkers of the second order; ours is GC104."""
QUICK = frozenset(
    checker.name for checker in FIRST + SECOND if checker.peer in (REFENGINE, TORCH) and "every" not in checker.name
)
"""What is asked where there is little time."""
