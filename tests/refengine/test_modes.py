"""Grad mode: what is recorded, and that the mode comes back."""

from __future__ import annotations

import threading
from typing import Any

import pytest


def test_no_grad_records_nothing(lib: Any) -> None:
    x = lib.ones(1, requires_grad=True)
    with lib.no_grad():
        y = x * 2
    assert not y.requires_grad
    assert (x * 2).requires_grad


def test_enable_grad_inside_no_grad(lib: Any) -> None:
    x = lib.ones(1, requires_grad=True)
    with lib.no_grad(), lib.enable_grad():
        assert (x * 2).requires_grad


def test_modes_decorate_functions(lib: Any) -> None:
    x = lib.ones(1, requires_grad=True)

    @lib.no_grad()
    def double(y: Any) -> Any:
        return y * 2

    assert not double(x).requires_grad
    assert lib.is_grad_enabled()


def test_set_grad_enabled_acts_at_once_and_as_a_context(lib: Any) -> None:
    with lib.set_grad_enabled(False):
        assert not lib.is_grad_enabled()
    assert lib.is_grad_enabled()
    lib.set_grad_enabled(False)
    assert not lib.is_grad_enabled()
    lib.set_grad_enabled(True)


def test_the_mode_comes_back_after_an_exception(lib: Any) -> None:
    with pytest.raises(KeyError), lib.no_grad():
        raise KeyError
    assert lib.is_grad_enabled()


def test_the_mode_belongs_to_the_thread(lib: Any) -> None:
    seen: list[bool] = []
    with lib.no_grad():
        thread = threading.Thread(target=lambda: seen.append(lib.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_creation_may_require_grad_under_no_grad(lib: Any) -> None:
    with lib.no_grad():
        assert lib.ones(1, requires_grad=True).requires_grad
