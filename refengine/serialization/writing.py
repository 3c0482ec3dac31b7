"""Writes an archive as PyTorch does: records stored as they are, each beginning at a multiple of 64 bytes."""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Sequence
from typing import IO, Any, Final

from refengine.serialization.archive import LOCAL
from refengine.serialization.pickler import memory
from refengine.storage import Storage

ALIGNMENT: Final = 64
"""Bytes; PyTorch's, so that a mapped storage can be used where it lies."""
PADDING: Final = struct.Struct("<2sH")
"""Head of the extra field that fills up; "FB" is the id that PyTorch gives it."""
ZIP64: Final = 20
"""Bytes that zipfile adds to the extra field of a record that may reach 4 GiB."""
NEARLY_4_GIB: Final = int(zipfile.ZIP64_LIMIT / 1.05)
VERSION: Final = b"3\n"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every record, so that equal objects make equal files."""


def write_archive(stream: IO[bytes], data: bytes, storages: Sequence[Storage]) -> None:
    """Write a pickle and its storages to a file that can be sought."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, stream, "data.pkl", data)
        _write(archive, stream, "byteorder", sys.byteorder.encode("ascii"))
        for number, storage in enumerate(storages):
            _write(archive, stream, f"data/{number}", memory(storage))
        _write(archive, stream, "version", VERSION)


def _write(archive: zipfile.ZipFile, stream: IO[bytes], name: str, data: Any) -> None:
    """Write one record."""
    entry = zipfile.ZipInfo(f"archive/{name}", EPOCH)
    entry.file_size = len(data)
    start = stream.tell() + LOCAL.size + len(entry.filename) + PADDING.size
    start += ZIP64 if entry.file_size > NEARLY_4_GIB else 0
    missing = -start % ALIGNMENT
    entry.extra = PADDING.pack(b"FB", missing) + b"Z" * missing
    archive.writestr(entry, data)
    entry.extra = b""  # the directory needs no padding
