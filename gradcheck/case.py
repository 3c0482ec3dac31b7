"""A case: one subject of one target, as bytes, and its two ids. Both name it; the long one also contains it.

The long id is a path that every shell takes unquoted, ``gc1/torch-cpu/vjp_matches_numeric/indexing/3fa9/eNo…``. It
needs no file, so what failed in continuous integration replays on a laptop. The short one is a digest of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from gradcheck.events import Target
from gradcheck.failures import UsageError

# Rises when the meaning of the bytes changes, so that an old id is refused instead of replaying something else.
FORMAT = "gc1"


@dataclass(frozen=True, slots=True)
class Case:
    """What is replayed.

    Attributes
    ----------
    target : Target
    data : bytes
        The records of a program one after the other, or the bytes of a module.
    table : str
        The fingerprint of the ops that the records choose from: among others, the same bytes are another program.
    """

    target: Target
    data: bytes
    table: str

    @property
    def id(self) -> str:
        """The self-contained id."""
        target = self.target
        packed = base64.urlsafe_b64encode(zlib.compress(self.data, 9)).decode().rstrip("=")
        return "/".join((FORMAT, target.place, target.claim, target.group, self.table, packed))

    @property
    def digest(self) -> str:
        """The short id: twelve hexadecimal digits."""
        return hashlib.blake2b(self.id.encode(), digest_size=6).hexdigest()


def is_self_contained(text: str) -> bool:
    """Whether `text` is a long id, of this or another format."""
    return re.match(r"gc\d+/", text) is not None


def decode(text: str) -> Case:
    """The case that a long id contains.

    Raises
    ------
    UsageError
        If it was cut, damaged, or made by another version.
    """
    parts = text.strip().split("/")
    if parts[0] != FORMAT:
        raise UsageError(
            f"replay: expected an id of format {FORMAT}, got one of {parts[0]}; it needs the version that made it"
        )
    try:
        _, place, claim, group, table, packed = parts
        data = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except (ValueError, binascii.Error, zlib.error) as error:
        raise UsageError(f"replay: expected a whole id, got {text!r}, which is cut or damaged ({error})") from error
    engine, _, device = place.rpartition("-")
    return Case(Target(engine, device, claim, group), data, table)


def fingerprint(names: Iterable[str]) -> str:
    """Four hexadecimal digits for a list of op names in order."""
    return hashlib.blake2b(" ".join(names).encode(), digest_size=2).hexdigest()
