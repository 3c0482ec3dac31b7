"""Reads the records of a PyTorch archive: a zip file whose directory is believed only as far as its bytes bear it out.

Records are stored, never compressed, and lie apart from each other, so that all of them together are no larger than the
file. Nothing is ever unpacked to a path.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from refengine.serialization.errors import FormatError

LOCAL: Final = struct.Struct("<4s5H3L2H")
"""The header before a record. Source: PKWARE's APPNOTE, 4.3.7."""
ENCRYPTED, UTF8 = 0x1, 0x800
CHUNK: Final = 1 << 24
"""Bytes read at a time: what a file that is not a file of the system may have to hold twice."""
VERSIONS: Final = range(1, 11)
"""The versions of the format that PyTorch 2.13 reads."""
SMALL: Final = 64
"""No record with a single word is longer."""
MALFORMED: Final = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, struct.error),
    *(ValueError, OverflowError, EOFError, LookupError, OSError),
)
"""What the standard library raises over bytes that are no zip file."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where the bytes of a record lie, and their checksum."""

    name: str
    start: int
    size: int
    crc: int


class Archive:
    """The records of a file, by name without the leading directory.

    Parameters
    ----------
    stream : binary file
        Can be read and sought.
    is_mapped : bool
        Whether arrays look at the file, which then is one of the system's, instead of being read.

    Raises
    ------
    FormatError
        If it is no archive, or says of itself what is not so.
    """

    def __init__(self, stream: Any, is_mapped: bool = False) -> None:
        self._stream, self._is_mapped = stream, is_mapped
        self._map: mmap.mmap | None = None
        self.records = _records(stream)
        # PyTorch can be told to write no checksums, and then writes 0 for all; no damage to a few bytes does that.
        self._has_checksums = any(record.crc for record in self.records.values())
        if "constants.pkl" in self.records:
            raise FormatError("load: this is a TorchScript archive, which holds a program; save a state_dict instead")
        self._check_version()
        self.byteorder = self._word("byteorder") if "byteorder" in self.records else "little"
        if self.byteorder not in ("little", "big"):
            raise FormatError(f"load: expected byte order 'little' or 'big', got {self.byteorder!r}")

    def _check_version(self) -> None:
        text = self._word("version")
        if not (text.isdecimal() and int(text) in VERSIONS):
            raise FormatError(
                f"load: expected a version of the format from {VERSIONS[0]} to {VERSIONS[-1]}, got {text!r}"
            )

    def _word(self, name: str) -> str:
        """A record that is a single word."""
        record = self.find(name)
        if record.size > SMALL:
            raise FormatError(f"load: expected at most {SMALL} bytes in record {name!r}, got {record.size}")
        try:
            return self.read(record).decode("ascii").strip()
        except UnicodeDecodeError:
            raise FormatError(f"load: record {name!r} is no text") from None

    def find(self, name: str) -> Record:
        """The record of that name."""
        if name not in self.records:
            raise FormatError(f"load: expected a record {name!r} in the archive, which has none; the file is damaged")
        return self.records[name]

    def read(self, record: Record) -> bytes:
        """The bytes of a record, which are those that were written."""
        return b"".join(self._chunks(record))

    def array(self, record: Record) -> np.ndarray[Any, Any]:
        """The bytes of a record as an array; of a mapped file they are not read, nor their checksum looked at."""
        if self._is_mapped and record.size:
            self._map = self._map or mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_COPY)
            return np.frombuffer(self._map, np.uint8, record.size, record.start)
        result = np.empty(record.size, np.uint8)
        place = 0
        for chunk in self._chunks(record):
            result[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
            place += len(chunk)
        return result

    def _chunks(self, record: Record) -> Iterator[bytes]:
        self._stream.seek(record.start)
        left, crc = record.size, 0
        while left:
            chunk = _read(self._stream, min(left, CHUNK))
            crc = zlib.crc32(chunk, crc)
            left -= len(chunk)
            yield chunk
        if self._has_checksums and crc != record.crc:
            raise FormatError(f"load: the checksum of record {record.name!r} is wrong; the file is damaged")


def _read(stream: Any, count: int) -> bytes:
    """Exactly so many bytes."""
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            raise FormatError("load: the file ends inside a record; it is truncated")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _records(stream: Any) -> dict[str, Record]:
    """The records that the directory at the end of a file lists, each checked against the file."""
    size = stream.seek(0, 2)
    _check_beginning(stream, size)
    try:
        with zipfile.ZipFile(stream) as directory:
            entries = [entry for entry in directory.infolist() if not entry.is_dir() or entry.file_size]
    except MALFORMED as error:
        raise FormatError(
            f"load: the zip file has no readable directory ({error}); it is truncated or damaged"
        ) from None
    if not entries:
        raise FormatError("load: the archive is empty")
    prefix = entries[0].orig_filename.partition("/")[0] + "/"
    found: dict[str, Record] = {}
    extents = []
    for entry in entries:
        name = _checked_name(entry, prefix)
        if name in found:
            raise FormatError(f"load: the archive has two records {name!r}")
        found[name] = record = _located(stream, entry, name, size)
        extents.append((entry.header_offset, record.start + record.size))
    extents.sort()
    if any(before[1] > after[0] for before, after in pairwise(extents)):
        raise FormatError("load: records of the archive overlap")
    return found


def _check_beginning(stream: Any, size: int) -> None:
    """Raise where a file begins as something else than a zip file."""
    stream.seek(0)
    start = stream.read(2)
    if start == b"PK":
        return
    if not size:
        raise FormatError("load: the file is empty")
    stream.seek(0)
    head = stream.read(512)
    if head[:1] == b"\x80" or head[257:262] == b"ustar":
        raise FormatError(
            "load: expected PyTorch's zip format, got a bare pickle or the format before PyTorch 1.6; "
            "load it with PyTorch and save it again"
        )
    raise FormatError(f"load: expected a zip file, got one that begins with {head[:8]!r}")


def _checked_name(entry: zipfile.ZipInfo, prefix: str) -> str:
    """The name of a record without the leading directory; only a name that stays inside it is one."""
    name = entry.orig_filename
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise FormatError(f"load: the archive has a record with the name {name[:80]!r}")
    if not name.startswith(prefix):
        raise FormatError(f"load: expected every record below {prefix!r}, got {name[:80]!r}")
    return name[len(prefix) :]


def _located(stream: Any, entry: zipfile.ZipInfo, name: str, size: int) -> Record:
    """A record whose own header agrees with the directory and whose bytes lie inside the file."""
    if entry.flag_bits & ENCRYPTED:
        raise FormatError(f"load: record {name!r} is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise FormatError(f"load: record {name!r} is compressed, which PyTorch's are not; store it as it is")
    if not 0 <= entry.header_offset <= size - LOCAL.size:
        raise FormatError(f"load: record {name!r} lies outside of the file; it is truncated or damaged")
    stream.seek(entry.header_offset)
    header = LOCAL.unpack(_read(stream, LOCAL.size))
    signature, flags, method, name_size, extra_size = header[0], header[2], header[3], header[9], header[10]
    written = _read(stream, min(name_size, size - stream.tell())) if name_size else b""
    expected = entry.orig_filename.encode("utf-8" if flags & UTF8 else "cp437", "replace")
    if (signature, method, written) != (b"PK\x03\x04", zipfile.ZIP_STORED, expected):
        raise FormatError(f"load: the header of record {name!r} does not agree with the directory; the file is damaged")
    start = entry.header_offset + LOCAL.size + name_size + extra_size
    if start + entry.file_size > size:
        raise FormatError(
            f"load: record {name!r} of {entry.file_size} bytes does not fit into the file; it is truncated"
        )
    return Record(name, start, entry.file_size, entry.CRC)
