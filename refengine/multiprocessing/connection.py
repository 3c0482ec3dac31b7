"""Connections: packets of bytes and descriptors, each sent and received whole or not at all.

The kernel keeps a packet together, so that several processes may read and write one end without a lock, and the death
of one at any moment loses at most the packet it had received. A packet is a small header, the pickled object, and the
descriptors; an object that is too long for a packet travels as a descriptor itself, and so do many descriptors.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait as wait  # it takes these connections too
from types import TracebackType
from typing import Any, Final

from refengine.multiprocessing.pickling import Message, carry, pack, unpack
from refengine.multiprocessing.process import Attention
from refengine.region import Region, SharedMemoryError

KIND: Final = socket.SOCK_DGRAM if sys.platform == "darwin" else socket.SOCK_SEQPACKET
"""Sockets whose packets stay whole; macOS has only those that do not say when the other end is closed."""
INLINE: Final = 1_000 if sys.platform == "darwin" else 32_768
"""Bytes of a packet beyond which they travel as a region. macOS allows 2,048, Linux an unread total of 212,992."""
FEW: Final = 250
"""Descriptors in one packet; the kernel allows 253."""
HEADER: Final = struct.Struct("=BqQ")
"""Flags, the packet's number, the length of the payload where it is a region."""
IS_REGION, IS_CRATE = 1, 2
FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


class _End(socket.socket):
    """A socket that closes itself without a warning, as the standard library's connections do."""

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


class Connection:
    """One end of a pipe.

    Attributes
    ----------
    readable, writable : bool
        Which way it goes.
    """

    def __init__(self, end: _End, readable: bool = True, writable: bool = True) -> None:
        end.setblocking(False)
        self._socket = end
        self.readable, self.writable = readable, writable
        self.attention = Attention()

    # --- as a descriptor ----------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor; `multiprocessing.connection.wait` takes connections."""
        self._check()
        return self._socket.fileno()

    def about(self) -> tuple[bool, bool]:
        """What `received` needs to know beside the descriptor."""
        return self.readable, self.writable

    @classmethod
    def received(cls, descriptor: int, readable: bool, writable: bool) -> Connection:
        """The connection behind a descriptor, which becomes its own."""
        return cls(_End(fileno=descriptor), readable, writable)

    @property
    def closed(self) -> bool:
        """Whether it was closed here."""
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Let go of this end."""
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, readable: bool = False, writable: bool = False) -> None:
        if self.closed:
            raise OSError("connection: it is closed")
        if (readable and not self.readable) or (writable and not self.writable):
            raise OSError(f"connection: expected an end to {'read' if readable else 'write'}, got the other one")

    # --- objects and bytes ----------------------------------------------------------------------------------------

    def send(self, obj: Any) -> None:
        """Send an object; tensors in it are moved to shared memory and not copied.

        Raises
        ------
        SendError
            If a tensor in it requires grad and is no leaf.
        BrokenPipeError
            If the other end is closed.
        """
        self._check(writable=True)
        self.write(pack(obj))

    def recv(self) -> Any:
        """The next object.

        Raises
        ------
        EOFError
            If the other end is closed and nothing is left.
        ProcessExitedException
            If a process that was started here has ended as it should not, and nothing is left; said once.
        """
        _, payload, descriptors = self.read()
        return unpack(payload, descriptors)

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send bytes."""
        self._check(writable=True)
        view = memoryview(buf).cast("B")
        stop = len(view) if size is None else offset + size
        if offset < 0 or not offset <= stop <= len(view):
            raise ValueError(f"send_bytes: expected a part of {len(view)} bytes, got offset={offset}, size={size}")
        self.write(Message(bytes(view[offset:stop]), []))

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """The next bytes; OSError if there are more than `maxlength`, and the connection is closed then."""
        _, payload, descriptors = self.read()
        for descriptor in descriptors:
            os.close(descriptor)
        if maxlength is not None and len(payload) > maxlength:
            self.close()
            raise OSError(f"recv_bytes: expected at most {maxlength} bytes, got {len(payload)}")
        return payload

    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int:
        """Write the next bytes into a buffer; returns their number."""
        from multiprocessing import BufferTooShort

        payload = self.recv_bytes()
        view = memoryview(buf).cast("B")
        if len(payload) > len(view) - offset:
            raise BufferTooShort(payload)
        view[offset : offset + len(payload)] = payload
        return len(payload)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether there is something to receive, or the other end is closed; None waits until there is."""
        self._check(readable=True)
        if not timeout and timeout is not None:
            return is_ready(self, select.POLLIN)
        return self.attention.wait(self.fileno(), select.POLLIN, deadline_in(timeout))

    # --- packets ------------------------------------------------------------------------------------------------

    def write(self, message: Message, number: int = 0, deadline: float | None = None) -> None:
        """Send a packet; waits while the kernel has no room.

        Raises
        ------
        TimeoutError
            If it has none until the deadline.
        """
        while not self.try_write(message, number):
            if not self.attention.wait(self.fileno(), select.POLLOUT, deadline):
                raise TimeoutError("connection: nobody reads what was sent")

    def try_write(self, message: Message, number: int = 0) -> bool:
        """Send a packet if there is room."""
        with contextlib.ExitStack() as kept:
            flags, payload, carried = 0, message.payload, list(message.carried)
            if len(payload) > INLINE:
                flags, payload, carried = IS_REGION, b"", [_filled(payload), *carried]
            descriptors = [part.fileno() for part in carried]
            if len(descriptors) > FEW:
                crate = kept.enter_context(_crate(descriptors))
                flags, descriptors = flags | IS_CRATE, [crate.fileno()]
            header = HEADER.pack(flags, number, len(message.payload))
            return _sent(self._socket, header + payload, descriptors)

    def read(self, deadline: float | None = None) -> tuple[int, bytes, list[int]]:
        """The next packet: its number, payload and descriptors.

        Raises
        ------
        TimeoutError
            If there is none until the deadline.
        """
        self._check(readable=True)
        while True:
            found = self.try_read()
            if found is not None:
                return found
            if not self.attention.wait(self.fileno(), select.POLLIN, deadline):
                raise TimeoutError("connection: nothing was sent")

    def try_read(self) -> tuple[int, bytes, list[int]] | None:
        """The next packet if there is one."""
        data, descriptors = _received(self._socket)
        if data is None:
            return None
        flags, number, length = HEADER.unpack_from(data)
        payload = data[HEADER.size :]
        with _closed_on_error(descriptors):
            if flags & IS_CRATE:
                with socket.socket(fileno=descriptors.pop()) as crate:
                    _unload(crate, descriptors)
            if flags & IS_REGION:
                payload = Region.received(descriptors.pop(0), length)[:length]
        return number, payload, descriptors


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected ends; with ``duplex=False`` the first only receives and the second only sends."""
    first, second = (_End(fileno=end.detach()) for end in socket.socketpair(socket.AF_UNIX, KIND))
    return Connection(first, True, duplex), Connection(second, duplex, True)


def deadline_in(seconds: float | None) -> float | None:
    """The moment in that many seconds; None is never."""
    return None if seconds is None else time.monotonic() + seconds


def is_ready(end: Connection, event: int, seconds: float = 0) -> bool:
    """Whether a socket can be read from, or written to, now or in that many seconds."""
    poll = select.poll()
    poll.register(end, event)
    return bool(poll.poll(seconds * 1000))


def _sent(end: socket.socket, data: bytes, descriptors: Sequence[int]) -> bool:
    """Send one packet; False if there is no room."""
    extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        end.sendmsg([data], extra, FLAGS)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            return False
        if error.errno == errno.ETOOMANYREFS:
            raise SharedMemoryError(
                "connection: too many descriptors are on their way; let the other side receive, or raise `ulimit -n`"
            ) from error
        raise
    return True


def _received(end: socket.socket) -> tuple[bytes | None, list[int]]:
    """One packet; no data if there is none."""
    room = socket.CMSG_SPACE((FEW + 1) * array.array("i").itemsize)
    try:
        data, extra, flags, _ = end.recvmsg(HEADER.size + INLINE, room, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    except BlockingIOError:
        return None, []
    except ConnectionResetError:
        raise EOFError("connection: the other end is closed") from None
    descriptors = array.array("i")
    for level, kind, content in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    if flags & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        raise SharedMemoryError(
            "connection: a message is lost, as this process has no descriptors left for it: raise `ulimit -n`, or hold "
            "fewer shared tensors"
        )
    if not data:
        raise EOFError("connection: the other end is closed")
    return data, list(descriptors)


def _filled(payload: bytes) -> Region:
    """A region with these bytes."""
    region = Region.create(len(payload))
    region[: len(payload)] = payload
    return region


def _crate(descriptors: list[int]) -> socket.socket:
    """A socket that holds many descriptors, as packets that wait in it."""
    into, crate = socket.socketpair(socket.AF_UNIX, KIND)
    into.setblocking(False)
    with into:
        for start in range(0, len(descriptors), FEW):
            if not _sent(into, b"+", descriptors[start : start + FEW]):
                crate.close()
                raise SharedMemoryError(f"connection: expected fewer tensors in one message, got {len(descriptors)}")
        _sent(into, b".", [])
    return crate


def _unload(crate: socket.socket, found: list[int]) -> None:
    """Add what such a socket holds."""
    data = None
    while data != b".":
        data, descriptors = _received(crate)
        found += descriptors


@contextlib.contextmanager
def _closed_on_error(descriptors: list[int]) -> Iterator[None]:
    """Close what was received where the rest of the message cannot be had."""
    try:
        yield
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


carry(Connection)
