"""The last moves of shrinking, which change several bytes at once: Hypothesis only ever lowers one place at a time.

Where a step is dropped, its consumer may need another input of the header for its operand. Nothing else is tried here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradcheck.grammar import FRESH, INPUTS
from gradcheck.material import SHAPES

Records = tuple[bytes, ...]
Fails = Callable[[Records], bool]

_PICK = 2
_WIDTH = 4
"""Bytes of the header that describe one input; the first is its shape."""
_SHAPES = tuple(SHAPES.index(shape) for shape in ((1,), (2,), (1, 1), (2, 2)))
"""For a consumer that takes fewer shapes than the step that went."""


def polished(records: Records, fails: Fails) -> Records:
    """Records that fail, with no step that one of our moves could drop; bytes as low as they go one by one."""
    while True:
        shorter = next((candidate for candidate in _shorter(records) if fails(candidate)), None)
        if shorter is None:
            return records
        records = _lowered(shorter, fails)


def _shorter(records: Records) -> Iterator[Records]:
    """The records without one step; the step after it may take its operand from any input of the header."""
    header = records[0]
    for dropped in range(1, len(records) if len(records) > 2 else 0):
        steps = records[1:dropped] + records[dropped + 1 :]
        heir = min(dropped - 1, len(steps) - 1)
        for number in range(INPUTS):
            pick = FRESH + number * (256 - FRESH) // INPUTS
            heirs = (*steps[:heir], _with_byte(steps[heir], _PICK, pick), *steps[heir + 1 :])
            yield (header, *heirs)
            for other in range(INPUTS):
                yield (_copied(header, number, other), *heirs)
            for byte in _SHAPES:
                yield (_with_byte(header, _WIDTH * number, byte), *heirs)


def _copied(header: bytes, source: int, target: int) -> bytes:
    """The header with input `source` written over input `target`."""
    part = header[_WIDTH * source : _WIDTH * (source + 1)]
    return header[: _WIDTH * target] + part + header[_WIDTH * (target + 1) :]


def _lowered(records: Records, fails: Fails) -> Records:
    """Each byte in turn at its smallest value that still fails, as bisection finds it, until nothing changes."""
    before = None
    while before != records:
        before = records
        for row in range(len(records)):
            for column in range(len(records[row])):
                low, high = 0, records[row][column]
                while low < high:
                    middle = 0 if low == 0 and high == records[row][column] else (low + high) // 2
                    candidate = (*records[:row], _with_byte(records[row], column, middle), *records[row + 1 :])
                    if fails(candidate):
                        records, high = candidate, middle
                    else:
                        low = middle + 1
    return records


def _with_byte(record: bytes, place: int, value: int) -> bytes:
    return record[:place] + bytes((value,)) + record[place + 1 :]
