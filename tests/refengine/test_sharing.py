"""Shared memory: what moves with a tensor, what stays, and how memory without a name is made."""

from __future__ import annotations

import errno
import gc
import os
from typing import Any

import numpy as np
import pytest

import refengine as re
from refengine.region import Region, SharedMemoryError, region_of
from refengine.sharing import share, storage_in


def test_a_tensor_is_shared_after_share_memory(lib: Any) -> None:
    tensor = lib.arange(3.0)
    assert not tensor.is_shared()
    assert tensor.share_memory_() is tensor
    assert tensor.is_shared()
    assert tensor.tolist() == [0.0, 1.0, 2.0]


def test_sharing_twice_moves_once(lib: Any) -> None:
    tensor = lib.zeros(3).share_memory_()
    address = tensor.data_ptr()
    assert tensor.share_memory_().data_ptr() == address


def test_views_and_detached_tensors_move_along(lib: Any) -> None:
    base = lib.zeros(3, 4)
    view, detached, data = base.t()[1:, ::2], base.detach(), base.data
    view.share_memory_()
    base.add_(1.0)
    assert base.is_shared()
    assert detached.is_shared()
    assert data.is_shared()
    assert view.tolist() == [[1.0, 1.0]] * 3
    assert detached.sum().item() == data.sum().item() == 12.0
    assert (view.stride(), view.storage_offset()) == ((1, 8), 1)
    assert view.data_ptr() - base.data_ptr() == 4


def test_the_version_counter_stays(lib: Any) -> None:
    base = lib.zeros(2)
    view = base[1:]
    base.add_(1.0)
    base.share_memory_()
    view.add_(1.0)
    assert (base._version, view._version) == (2, 2)


def test_a_shared_leaf_still_requires_grad_and_accumulates(lib: Any) -> None:
    leaf = lib.ones(2, requires_grad=True)
    loss = (leaf * leaf).sum()
    leaf.share_memory_()
    loss.backward()
    assert leaf.is_leaf
    assert leaf.grad.tolist() == [2.0, 2.0]
    assert not leaf.grad.is_shared()


def test_what_a_graph_saved_is_still_checked_after_a_move(lib: Any) -> None:
    leaf = lib.ones(2, requires_grad=True)
    loss = (leaf * leaf).sum()
    leaf.share_memory_()
    with lib.no_grad():
        leaf.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an in"):
        loss.backward()


def test_a_module_shares_parameters_gradients_and_buffers(lib: Any) -> None:
    module = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.BatchNorm1d(2))
    module[0](lib.ones(1, 2)).sum().backward()
    kept = module[0].weight
    assert module.share_memory() is module
    assert kept is module[0].weight
    assert all(tensor.is_shared() for tensor in [*module.parameters(), *module.buffers(), kept.grad])


def test_no_elements_can_be_shared(lib: Any) -> None:
    empty = lib.empty(0, 3).share_memory_()
    assert empty.is_shared()
    assert empty.untyped_storage().nbytes() == 0
    assert tuple(empty.shape) == (0, 3)


def test_tensors_over_parts_of_one_array_move_together() -> None:
    values = np.arange(6.0)
    first, second = re.from_numpy(values[:4]), re.from_numpy(values[2:])
    first.share_memory_()
    first[3] = 9.0
    assert second.is_shared()
    assert second.tolist() == [2.0, 9.0, 4.0, 5.0]
    assert values[3] == 3.0


def test_tensors_are_found_although_the_collector_was_frozen() -> None:
    base = re.zeros(4)
    view = base[2:]
    gc.freeze()
    try:
        base.share_memory_()
    finally:
        gc.unfreeze()
    assert view.is_shared()


def test_several_tensors_are_moved_each_to_its_own_memory() -> None:
    tensors = [re.full((2,), float(i)) for i in range(3)]
    views = [tensor[1:] for tensor in tensors]
    share([*tensors, *views])
    assert [view.tolist() for view in views] == [[0.0], [1.0], [2.0]]
    assert len({region_of(tensor.array) for tensor in tensors}) == 3


def test_memory_and_descriptors_are_returned_with_the_last_tensor() -> None:
    gc.collect()
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    tensor = re.zeros(1000).share_memory_()
    view = tensor[5:]
    del tensor
    assert view.tolist()[0] == 0.0
    del view
    assert os.listdir("/proc/self/fd") == before if before else True


def test_a_region_that_comes_back_is_mapped_once() -> None:
    region = Region.create(8)
    again = Region.received(os.dup(region.fileno()), 8)
    assert again is region
    assert storage_in(region) is storage_in(region)


def test_a_file_that_is_too_small_is_refused() -> None:
    region = Region.create(8)
    with pytest.raises(SharedMemoryError, match="expected a file of 4096 bytes, got 8"):
        Region.received(os.dup(region.fileno()), 4096)


def test_a_shared_file_cannot_be_cut() -> None:
    region = Region.create(8)
    if not hasattr(os, "memfd_create"):
        pytest.skip("only memfd can be sealed")
    with pytest.raises(PermissionError):
        os.ftruncate(region.fileno(), 0)


def test_without_memfd_an_unlinked_file_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    tensor = re.arange(3.0).share_memory_()
    assert tensor.is_shared()
    assert tensor.tolist() == [0.0, 1.0, 2.0]
    region = region_of(tensor.array)
    assert region is not None
    assert os.fstat(region.fileno()).st_nlink == 0


@pytest.mark.parametrize(("number", "remedy"), [(errno.EMFILE, "ulimit -n"), (errno.ENOSPC, "no room")])
def test_running_out_says_what_to_do(monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fails)
    with pytest.raises(SharedMemoryError, match=remedy) as caught:
        re.zeros(3).share_memory_()
    assert caught.value.errno == number
