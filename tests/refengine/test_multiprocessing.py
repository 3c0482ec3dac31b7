"""Tensors between processes: what arrives, what is refused, and what is said when a process ends."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import queue
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import refengine as re
from refengine import multiprocessing as mp
from refengine.multiprocessing import connection
from tests.refengine import processes
from tests.refengine.processes import PATIENCE

pytestmark = [
    # What Python 3.12 says of a fork while the manager of a pool, or the feeder of a queue, runs.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.skipif(os.name != "posix", reason="descriptors pass between processes on POSIX systems"),
]
fork = mp.get_context("fork")
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No test leaves a process behind."""
    yield
    left = multiprocessing.active_children()
    for process in left:  # else the end of the run would wait for them
        process.kill()
        process.join(PATIENCE)
    assert left == []


def journey(obj: Any) -> Any:
    """An object after it went through a pipe."""
    receiver, sender = mp.Pipe(duplex=False)
    sender.send(obj)
    return receiver.recv()


# --- what arrives -------------------------------------------------------------------------------------------------


def test_every_name_of_the_standard_module_is_there() -> None:
    missing = [name for name in multiprocessing.__all__ if not hasattr(mp, name) and name != "reducer"]
    assert missing == []


def test_a_tensor_is_not_copied() -> None:
    tensor = re.arange(3.0)
    received = journey(tensor)
    received.add_(1.0)
    assert tensor.is_shared()
    assert tensor.tolist() == [1.0, 2.0, 3.0]
    assert received.untyped_storage() is tensor.untyped_storage()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "bool", "complex64"])
def test_the_dtype_is_kept(dtype: str) -> None:
    received = journey(re.ones(2, dtype=getattr(re, dtype)))
    assert received.dtype is getattr(re, dtype)
    assert bool((received == 1).all())


def test_shape_strides_and_offset_are_kept() -> None:
    view = re.arange(24.0).view(2, 3, 4).transpose(0, 2)[1:, :, 1]
    received = journey(view)
    assert (received.stride(), received.storage_offset()) == (view.stride(), view.storage_offset())
    assert received.tolist() == view.tolist()


def test_an_expanded_tensor_sends_its_own_memory_only() -> None:
    received = journey(re.ones(3, 1).expand(3, 100_000))
    assert received.stride() == (1, 0)
    assert received.untyped_storage().nbytes() == 12


def test_views_of_one_storage_stay_so_across_messages() -> None:
    base = re.zeros(4)
    first, second = journey([base[:2], base[2:]])
    third = journey(base)
    third.fill_(5.0)
    assert first.untyped_storage() is second.untyped_storage() is third.untyped_storage()
    assert first.tolist() + second.tolist() == [5.0] * 4


def test_a_leaf_arrives_as_a_leaf_without_its_gradient() -> None:
    leaf = re.ones(2, requires_grad=True)
    (leaf * 3).sum().backward()
    received = journey(leaf)
    assert received.requires_grad
    assert received.is_leaf
    assert received.grad is None


def test_parameters_buffers_and_subclasses_keep_their_type() -> None:
    named = processes.Named(re.zeros(2).array)
    named.label = "x"
    parameter, frozen, buffer, named = journey(
        (re.nn.Parameter(re.zeros(2)), re.nn.Parameter(re.zeros(2), False), re.nn.Buffer(re.ones(1)), named)
    )
    assert [type(t).__name__ for t in (parameter, buffer, named)] == ["Parameter", "Buffer", "Named"]
    assert (parameter.requires_grad, frozen.requires_grad, buffer.persistent, named.label) == (True, False, True, "x")


def test_a_module_arrives_with_its_parameters_shared() -> None:
    module = re.nn.Sequential(re.nn.Linear(3, 2), re.nn.BatchNorm1d(2))
    received = journey(module)
    with re.no_grad():
        received[0].weight.fill_(2.0)
    assert module[0].weight.tolist() == [[2.0] * 3] * 2
    assert list(received.state_dict()) == list(module.state_dict())


def test_a_tensor_of_a_graph_is_refused_with_a_remedy(lib: Any) -> None:
    torch_or_ours = pytest.importorskip(f"{lib.__name__}.multiprocessing")
    sender, receiver = torch_or_ours.Pipe()
    product = lib.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"non-leaf|no leaf") as caught:
        sender.send(product)
    assert "detach()" in str(caught.value)
    sender.close()
    receiver.close()


def test_put_refuses_at_once_and_the_queue_works_on() -> None:
    channel = mp.Queue()
    with pytest.raises(mp.SendError, match="MulBackward0"):
        channel.put({"x": re.ones(2, requires_grad=True) * 2})
    channel.put(1)
    assert channel.get(timeout=PATIENCE) == 1


def test_many_tensors_and_much_else_fit_one_message() -> None:
    tensors = [re.full((1,), float(i)) for i in range(300)]
    received, ballast = journey((tensors, "x" * 1_000_000))
    assert [t.item() for t in received] == [float(i) for i in range(300)]
    assert len(ballast) == 1_000_000


def test_connections_travel_too() -> None:
    first, second = mp.Pipe()
    moved = journey(second)
    first.send(re.ones(1))
    assert moved.recv().item() == 1.0


def test_the_standard_librarys_pipes_carry_tensors() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    tensor = re.zeros(2)
    sender.send(tensor)
    receiver.recv().fill_(3.0)
    assert tensor.tolist() == [3.0, 3.0]
    receiver.close()
    sender.close()


def test_plain_pickle_still_copies() -> None:
    tensor = re.zeros(2).share_memory_()
    pickle.loads(pickle.dumps(tensor)).fill_(1.0)
    assert tensor.tolist() == [0.0, 0.0]


# --- connections and queues ---------------------------------------------------------------------------------------


def test_bytes_go_through_a_pipe() -> None:
    first, second = mp.Pipe()
    first.send_bytes(b"abcdef", 1, 3)
    assert second.recv_bytes() == b"bcd"
    room = bytearray(5)
    second.send_bytes(b"xyz")
    assert (first.recv_bytes_into(room, 1), bytes(room)) == (3, b"\0xyz\0")
    second.send_bytes(b"")
    assert first.recv_bytes() == b""
    second.send_bytes(b"xyz")
    with pytest.raises(mp.BufferTooShort):
        first.recv_bytes_into(bytearray(2))
    second.send_bytes(b"xyz")
    with pytest.raises(OSError, match="at most 2 bytes, got 3"):
        first.recv_bytes(2)


def test_a_closed_pipe_says_so() -> None:
    first, second = mp.Pipe()
    with first:
        first.send("last")
    assert second.recv() == "last"
    with pytest.raises(EOFError):
        second.recv()
    with pytest.raises(BrokenPipeError):
        second.send(1)
    with pytest.raises(OSError, match="closed"):
        first.send(1)


def test_several_connections_can_be_waited_for_at_once() -> None:
    (first, _first), (second, other) = mp.Pipe(), mp.Pipe()
    other.send(1)
    assert mp.connection.wait([first, second], PATIENCE) == [second]


def test_a_one_way_pipe_goes_one_way() -> None:
    receiver, sender = mp.Pipe(duplex=False)
    with pytest.raises(OSError, match="an end to write"):
        receiver.send(1)
    with pytest.raises(OSError, match="an end to read"):
        sender.recv()
    assert not receiver.poll(0.001)
    sender.send(1)
    assert receiver.poll(PATIENCE)


def test_a_queue_takes_more_than_the_kernel_has_room_for() -> None:
    channel = mp.Queue()
    for number in range(2000):
        channel.put(number)
    assert channel.qsize() == 2000
    assert [channel.get(timeout=PATIENCE) for _ in range(2000)] == list(range(2000))
    assert channel.empty()
    channel.close()
    channel.join_thread()


def test_a_full_queue_refuses_and_has_room_again() -> None:
    channel = mp.Queue(maxsize=2)
    channel.put(1)
    channel.put_nowait(2)
    assert channel.full()
    with pytest.raises(queue.Full):
        channel.put(3, timeout=0.01)
    assert channel.get(timeout=PATIENCE) == 1
    channel.put(3, timeout=PATIENCE)
    assert [channel.get_nowait(), channel.get_nowait()] == [2, 3]
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        channel.get_nowait()


def test_a_put_that_waits_goes_on_when_there_is_room() -> None:
    channel = mp.Queue(maxsize=1)
    channel.put(1)
    thread = threading.Thread(target=channel.put, args=(2,))
    thread.start()
    assert [channel.get(timeout=PATIENCE), channel.get(timeout=PATIENCE)] == [1, 2]
    thread.join(PATIENCE)


def test_a_closed_queue_refuses() -> None:
    channel = mp.Queue()
    with pytest.raises(ValueError, match="close"):
        channel.join_thread()
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        channel.put(1)


def test_several_processes_put_into_one_queue_without_loss() -> None:
    channel = fork.Queue()
    writers = [fork.Process(target=processes.put_many, args=(channel, 500)) for _ in range(3)]
    for writer in writers:
        writer.start()
    found: dict[int, list[int]] = {}
    for _ in range(1500):
        who, number = channel.get(timeout=PATIENCE)
        found.setdefault(who, []).append(number)
    for writer in writers:
        writer.join(PATIENCE)
    assert list(found.values()) == [list(range(500))] * 3


def test_packets_without_an_end_of_file_serve_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KIND", connection.socket.SOCK_DGRAM)
    monkeypatch.setattr(connection, "INLINE", 1_000)
    tensors, ballast = journey(([re.ones(1) for _ in range(300)], "x" * 5000))
    assert (len(tensors), len(ballast)) == (300, 5000)


# --- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", mp.get_all_start_methods())
def test_tensors_go_both_ways_however_a_process_starts(method: str) -> None:
    context = mp.get_context(method)
    inbox, outbox = context.SimpleQueue(), context.Queue()
    ours, theirs = context.Pipe()
    requests = context.Queue()
    shared = re.zeros(2, 3)
    process = context.Process(target=processes.answer, args=(requests, outbox, theirs, shared.share_memory_()))
    requests.put(re.full((2,), 4.0))
    process.start()
    theirs.close()
    view = outbox.get(timeout=PATIENCE)
    reply = ours.recv()
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert shared.tolist() == [[1.0] * 3] * 2
    assert view.untyped_storage() is reply["parts"][1].untyped_storage() is shared.untyped_storage()
    assert reply["received"].tolist() == [4.0, 4.0]
    assert inbox.empty()


def test_the_arguments_of_a_forked_process_need_not_be_shared() -> None:
    private, shared = re.zeros(2), re.zeros(2).share_memory_()
    for tensor in (private, shared):
        process = fork.Process(target=processes.fill, args=(tensor, 1.0))
        process.start()
        process.join(PATIENCE)
    assert (private.tolist(), shared.tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_a_gradient_is_shared_once_it_is_there_and_was_moved() -> None:
    leaf = re.ones(2, requires_grad=True)
    leaf.share_memory_()
    leaf.grad = re.zeros(2).share_memory_()
    process = fork.Process(target=_backward, args=(leaf,))
    process.start()
    process.join(PATIENCE)
    assert leaf.grad.tolist() == [2.0, 2.0]


def _backward(leaf: Any) -> None:
    (leaf * leaf).sum().backward()


@pytest.mark.parametrize("make", [mp.Queue, mp.SimpleQueue, lambda: mp.Queue(3)])
def test_what_was_put_outlives_a_killed_producer(make: Any) -> None:
    channel = make()
    process = fork.Process(target=processes.put_and_die, args=(channel,))
    process.start()
    process.join(PATIENCE)
    assert channel.get().tolist() == [7.0] * 1000
    with pytest.raises(mp.ProcessExitedException, match="was ended by SIGKILL") as caught:
        channel.get()
    assert (caught.value.exit_code, caught.value.signal_name) == (-signal.SIGKILL, "SIGKILL")
    assert caught.value.error_pid == process.pid
    assert channel.empty()


def test_what_was_sent_outlives_a_killed_sender() -> None:
    ours, theirs = mp.Pipe()
    process = fork.Process(target=processes.put_and_die, args=(theirs,))
    process.start()
    theirs.close()
    process.join(PATIENCE)
    assert ours.recv().tolist() == [7.0] * 1000
    with pytest.raises(EOFError):
        ours.recv()


def test_a_killed_consumer_leaves_its_place_in_a_full_queue() -> None:
    channel = mp.Queue(maxsize=1)
    channel.put(1)
    process = fork.Process(target=processes.take_and_die, args=(channel,))
    process.start()
    process.join(PATIENCE)
    channel.put(2, timeout=PATIENCE)
    assert channel.get(timeout=PATIENCE) == 2


def test_a_put_that_waits_for_a_killed_consumer_says_so() -> None:
    channel = mp.Queue(maxsize=1)
    channel.put(1)
    process = fork.Process(target=processes.die)
    process.start()
    with pytest.raises(mp.ProcessExitedException):
        channel.put(2)
    process.join(PATIENCE)


def test_a_process_that_was_told_to_end_is_no_error() -> None:
    channel = mp.Queue()
    process = fork.Process(target=signal.pause)
    process.start()
    process.terminate()
    process.join(PATIENCE)
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)


def test_who_waits_hears_that_its_parent_is_gone() -> None:
    ours, theirs = mp.Pipe()
    parent = fork.Process(target=processes.parent_that_dies, args=(theirs,))
    parent.start()
    theirs.close()
    os.kill(ours.recv(), signal.SIGKILL)
    assert "is gone" in ours.recv()
    parent.join(PATIENCE)


def test_a_hundred_kills_leave_nothing_behind() -> None:
    """Workers are killed wherever they are: waiting, holding, receiving or sending."""
    gc.collect()
    before = len(os.listdir(DESCRIPTORS)) if DESCRIPTORS.is_dir() else 0
    _a_hundred_kills(random.Random(0))
    gc.collect()  # exceptions keep frames, and these the queues
    if before:
        assert len(os.listdir(DESCRIPTORS)) <= before  # earlier tests may have left some to the collector
        assert "memfd:refengine" not in Path("/proc/self/maps").read_text()


def _a_hundred_kills(draw: random.Random) -> None:
    tasks, results = fork.Queue(), fork.Queue()
    workers = [_worker(tasks, results) for _ in range(3)]
    said, answered, number = 0, 0, 0
    while said < 100:
        for _ in range(draw.randrange(1, 4)):
            number += 1
            tasks.put((number, re.full((256,), float(number)), "x" * draw.choice([0, 50_000])))
        victim = workers.pop(draw.randrange(3))
        if draw.randrange(2):
            answered += _take(results)
        os.kill(victim.pid, signal.SIGKILL)
        workers.append(_worker(tasks, results))
        victim.join(PATIENCE)
        with pytest.raises(mp.ProcessExitedException, match=f"pid {victim.pid}.* SIGKILL"):
            while True:
                answered += _take(results)
        said += 1
        victim.close()
    for _ in workers:
        tasks.put(None)
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0
        worker.close()
    while not results.empty():
        answered += _take(results)
    assert number - 100 <= answered <= number  # each death loses at most what the worker had


def _worker(tasks: Any, results: Any) -> Any:
    process = fork.Process(target=processes.work, args=(tasks, results))
    process.start()
    return process


def _take(results: Any) -> int:
    number, tensor, _ = results.get(timeout=PATIENCE)
    assert tensor.tolist() == [number + 1.0] * 256
    return 1


def test_news_of_a_death_waits_for_the_message_that_comes_first() -> None:
    channel = mp.Queue()
    process = fork.Process(target=processes.die)
    process.start()
    process.join(PATIENCE)
    channel.put(1)
    attention = channel._reader.attention
    assert attention.wait(channel._reader.fileno(), connection.select.POLLIN, None)
    assert channel.get() == 1
    with pytest.raises(mp.ProcessExitedException):
        channel.get()
