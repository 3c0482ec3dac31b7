"""Makes archives by hand: the pickles of files that no `save` would write."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

PROTO = b"\x80\x02"
FLOATS = b"\x00\x00\x80?" * 4
"""Four ones in float32."""


def archive(pickled: bytes, records: Mapping[str, bytes] | None = None, **entry: Any) -> io.BytesIO:
    """A sound archive around a pickle, with one storage of four ones, "0"; `records` adds to it or replaces."""
    found = {"data.pkl": pickled, "byteorder": b"little", "data/0": FLOATS, "version": b"3\n", **(records or {})}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **entry) as target:
        for name, data in found.items():
            target.writestr(zipfile.ZipInfo(f"archive/{name}"), data, entry.get("compression"))
    stream.seek(0)
    return stream


def name(full: str) -> bytes:
    """The opcode that names a global: "module name"."""
    module, _, own = full.partition(" ")
    return f"c{module}\n{own}\n".encode()


def text(value: str) -> bytes:
    """The opcode of a string."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def value(obj: Any) -> bytes:
    """The opcodes of plain data."""
    return pickle.dumps(obj, 2)[2:-1]


def call(full: str, *args: bytes) -> bytes:
    """A call of a global."""
    return name(full) + b"(" + b"".join(args) + b"tR"


def storage(
    kind: str = "torch FloatStorage",
    key: Any = "0",
    location: Any = "cpu",
    numel: Any = 4,
    what: Any = "storage",
    more: bytes = b"",
) -> bytes:
    """A persistent id and its opcode."""
    return b"(" + value(what) + name(kind) + value(key) + value(location) + value(numel) + more + b"tQ"


HOOKS = call("collections OrderedDict")


def tensor(
    memory: bytes | None = None,
    offset: Any = 0,
    size: Any = (4,),
    stride: Any = (1,),
    requires_grad: Any = False,
    hooks: bytes = HOOKS,
    more: bytes = b"",
) -> bytes:
    """A call that makes a tensor."""
    memory = storage() if memory is None else memory
    parts = (memory, value(offset), value(size), value(stride), value(requires_grad), hooks, more)
    return call("torch._utils _rebuild_tensor_v2", *parts)


def whole(body: bytes) -> bytes:
    """A pickle of protocol 2 with that body."""
    return PROTO + body + b"."
