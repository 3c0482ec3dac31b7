"""Storages: what tensors share, and what counts the writes to it."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_views_share_storage_and_version_counter(lib: Any) -> None:
    base = lib.zeros(2, 3)
    view = base[1]
    assert view.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
    view.add_(1.0)
    assert (base._version, view._version) == (1, 1)
    base.mul_(2.0)
    assert (base._version, view._version) == (2, 2)
    assert view.tolist() == [2.0, 2.0, 2.0]


def test_detach_shares_storage_and_version_counter(lib: Any) -> None:
    base = lib.zeros(2, requires_grad=True) * 1
    detached = base.detach()
    detached.add_(1.0)
    assert base._version == detached._version == 1
    assert base.tolist() == [1.0, 1.0]


def test_data_shares_storage_and_not_the_version_counter(lib: Any) -> None:
    base = lib.zeros(2)
    base.data.add_(1.0)
    assert base.tolist() == [1.0, 1.0]
    assert base._version == 0


def test_a_copy_shares_nothing(lib: Any) -> None:
    base = lib.zeros(2)
    copy = base.clone()
    copy.add_(1.0)
    assert base.tolist() == [0.0, 0.0]
    assert base._version == 0
    assert copy.data_ptr() != base.data_ptr()


def test_data_ptr_is_that_of_the_first_element(lib: Any) -> None:
    base = lib.zeros(4, 5, dtype=lib.float64)
    view = base[1:, 2:]
    assert view.data_ptr() - base.data_ptr() == 8 * (5 + 2)
    assert view.storage_offset() == 7
    assert view.T.storage_offset() == 7


def test_from_numpy_looks_at_the_arrays_own_memory(lib: Any) -> None:
    values = np.arange(12.0)
    tensor = lib.from_numpy(values[3:9:2])
    assert tensor.data_ptr() == values[3:].ctypes.data
    assert tensor.tolist() == [3.0, 5.0, 7.0]
    assert tensor.stride() == (2,)


def test_numpy_shares_memory_both_ways(lib: Any) -> None:
    tensor = lib.zeros(2, 2)
    values = tensor.T.numpy()
    values[0, 1] = 4.0
    assert tensor.tolist() == [[0.0, 0.0], [4.0, 0.0]]
    tensor.add_(1.0)
    assert values.tolist() == [[1.0, 5.0], [1.0, 1.0]]


def test_a_storage_knows_its_size(lib: Any) -> None:
    base = lib.zeros(3, 4)
    assert base[0].untyped_storage().nbytes() == 48
    assert base.nbytes == 48
    assert base[0].numel() * base.element_size() == 16


def test_an_expanded_tensor_owns_no_more_memory(lib: Any) -> None:
    wide = lib.zeros(3, 1).expand(3, 1000)
    assert wide.stride() == (1, 0)
    assert wide.untyped_storage().nbytes() == 12


def test_setting_data_changes_the_memory_and_keeps_the_tensor(lib: Any) -> None:
    leaf = lib.ones(2, requires_grad=True)
    other = lib.zeros(3, dtype=lib.float32)
    leaf.data = other
    assert leaf.data_ptr() == other.data_ptr()
    assert tuple(leaf.shape) == (3,)
    assert leaf.requires_grad
