"""Pools and `spawn`: results, errors with their traceback, and workers that die."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import refengine as re
from refengine import multiprocessing as mp
from refengine.region import region_of
from tests.refengine import processes
from tests.refengine.processes import PATIENCE

pytestmark = [
    # What Python 3.12 says of a fork while the manager of a pool runs.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.skipif(os.name != "posix", reason="descriptors pass between processes on POSIX systems"),
]
fork = mp.get_context("fork")


@pytest.fixture
def pool() -> Iterator[Any]:
    with fork.Pool(2) as pool:
        yield pool


# --- pools --------------------------------------------------------------------------------------------------------


def test_a_pool_maps_in_order_without_copying(pool: Any) -> None:
    tensors = [re.full((2,), float(i)) for i in range(9)]
    assert [t.tolist() for t in pool.map(processes.double, tensors)] == [[2.0 * i] * 2 for i in range(9)]
    assert all(tensor.is_shared() for tensor in tensors)


def test_every_way_to_call_gives_the_same(pool: Any) -> None:
    assert pool.apply(processes.total, (1,), {"y": 2}) == 3
    assert pool.apply_async(processes.total, (1, 2)).get(PATIENCE) == 3
    assert pool.starmap(processes.total, [(1, 2), (3, 4)]) == [3, 7]
    assert pool.starmap_async(processes.total, [(1, 2)]).get(PATIENCE) == [3]
    assert list(pool.imap(processes.double, range(5), chunksize=2)) == [0, 2, 4, 6, 8]
    assert sorted(pool.imap_unordered(processes.double, range(5))) == [0, 2, 4, 6, 8]
    assert pool.map(processes.double, []) == []


def test_an_error_of_a_call_comes_back_with_its_traceback(pool: Any) -> None:
    result = pool.map_async(processes.invert, [1.0, 0.0])
    with pytest.raises(ZeroDivisionError) as caught:
        result.get(PATIENCE)
    assert "in invert" in str(caught.value.__cause__)
    assert result.ready()
    assert not result.successful()
    assert pool.apply(processes.invert, (2.0,)) == 0.5


def test_what_cannot_be_sent_is_an_error_of_its_call(pool: Any) -> None:
    with pytest.raises(mp.SendError):
        pool.apply(processes.double, (re.ones(1, requires_grad=True) * 2,))
    with pytest.raises(mp.SendError):
        pool.apply(processes.double, (re.ones(1, requires_grad=True),))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        pool.apply(processes.raise_unpicklable, (1,))
    assert pool.apply(processes.double, (2,)) == 4


def test_callbacks_are_called(pool: Any) -> None:
    found: list[Any] = []
    called = threading.Event()

    def keep(value: Any) -> None:
        found.append(value)
        called.set()

    pool.apply_async(processes.double, (2,), callback=keep).wait(PATIENCE)
    assert called.wait(PATIENCE)
    called.clear()
    pool.apply_async(processes.invert, (0.0,), error_callback=keep).wait(PATIENCE)
    assert called.wait(PATIENCE)
    assert (found[0], type(found[1])) == (4, ZeroDivisionError)


def test_a_killed_worker_fails_its_own_call_only(pool: Any) -> None:
    dying = pool.apply_async(processes.die)
    others = pool.map_async(processes.double, range(20), chunksize=1)
    with pytest.raises(mp.ProcessExitedException, match="SIGKILL"):
        dying.get(PATIENCE)
    assert others.get(PATIENCE) == [2 * i for i in range(20)]


def test_idle_workers_that_are_killed_are_replaced(pool: Any) -> None:
    for _ in range(5):
        for pid in {pool.apply(processes.pid_of, (0,)) for _ in range(4)}:
            os.kill(pid, signal.SIGKILL)
        results = [pool.apply_async(processes.double, (i,)) for i in range(4)]
        for i, result in enumerate(results):
            with contextlib.suppress(mp.ProcessExitedException):  # it was handed out before the death was noticed
                assert result.get(PATIENCE) == 2 * i


def test_a_result_that_is_dropped_frees_its_memory_at_once(pool: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        result = pool.apply_async(processes.double, (re.ones(3),)).get(PATIENCE)
        region = weakref.ref(region_of(result.array))
        del result
        pool.apply(processes.double, (1,))  # so that the manager's thread has let go of it too
        assert region() is None
    finally:
        gc.enable()


def test_workers_are_replaced_after_their_share_of_calls() -> None:
    with fork.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(processes.pid_of, (0,)) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_an_initializer_that_raises_is_no_endless_start(capfd: pytest.CaptureFixture[str]) -> None:
    with fork.Pool(1, processes.no_begin) as pool:
        with pytest.raises((mp.ProcessExitedException, ValueError)):
            pool.apply_async(processes.double, (1,)).get(PATIENCE)
    assert "the initializer fails" in capfd.readouterr().err


def test_close_lets_calls_end_and_terminate_does_not() -> None:
    pool = fork.Pool(1)
    result = pool.map_async(processes.double, range(5))
    with pytest.raises(ValueError, match="first"):
        pool.join()
    pool.close()
    pool.join()
    assert result.get(PATIENCE) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="closed"):
        pool.apply(processes.double, (1,))
    pool = fork.Pool(1)
    endless = pool.apply_async(signal.pause)
    with pytest.raises(mp.TimeoutError):
        endless.get(0.01)
    pool.terminate()
    with pytest.raises(RuntimeError, match=r"terminated|SIGTERM"):
        endless.get(PATIENCE)


@pytest.mark.parametrize("options", [{"processes": 0}, {"processes": 1, "maxtasksperchild": 0}])
def test_a_pool_of_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        fork.Pool(**options)


# --- spawn --------------------------------------------------------------------------------------------------------


def test_spawn_passes_tensors_and_waits() -> None:
    total = re.zeros(2)
    mp.spawn(_set, (total.share_memory_(),), nprocs=2, start_method="fork")
    assert total.tolist() == [1.0, 2.0]


def _set(index: int, total: Any) -> None:
    total[index] = index + 1.0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_spawn_brings_back_the_traceback_and_ends_the_others(method: str) -> None:
    with pytest.raises(mp.ProcessRaisedException, match="ValueError: the value is 7.0") as caught:
        mp.spawn(processes.raises, (re.tensor(7.0),), nprocs=2, start_method=method)
    assert caught.value.error_index == 1
    assert "in raises" in caught.value.msg


def test_spawn_says_which_signal_or_status_ended_one() -> None:
    with pytest.raises(mp.ProcessExitedException, match="process 1 .* SIGKILL") as caught:
        mp.spawn(processes.dies, nprocs=3, start_method="fork")
    assert (caught.value.error_index, caught.value.signal_name) == (1, "SIGKILL")
    with pytest.raises(mp.ProcessExitedException, match="status 3") as caught:
        mp.spawn(processes.exits, nprocs=2, start_method="fork")
    assert (caught.value.exit_code, caught.value.signal_name) == (3, None)


def test_spawn_without_join_gives_what_can_be_joined() -> None:
    context = mp.start_processes(processes.exits, nprocs=1, join=False, daemon=True, start_method="fork")
    assert context is not None
    assert context.pids() == [process.pid for process in context.processes]
    assert context.processes[0].daemon
    while not context.join(timeout=PATIENCE):
        pass
    assert context.join()


def test_a_failure_that_spawn_told_of_is_not_told_again() -> None:
    channel = mp.Queue()
    with pytest.raises(mp.ProcessExitedException):
        mp.spawn(processes.dies, nprocs=2, start_method="fork")
    channel.put(1)
    assert channel.get(timeout=PATIENCE) == 1
    assert not channel._reader.poll(0.01)


def test_an_unknown_start_method_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of fork, spawn, forkserver"):
        mp.get_context("thread")
