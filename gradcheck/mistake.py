"""The usual mistakes in a backward, in words: what a diagnosis may come to. Pure data."""

from __future__ import annotations

from enum import StrEnum


class Mistake(StrEnum):
    """What a wrong gradient looks like; the words are those of a report."""

    FACTOR = "off by a constant factor"
    SIGN = "has the wrong sign"
    ZERO = "zero where it should not be"
    TERM = "lacks a term, or has one too many"
    TRANSPOSED = "transposed"
    BROADCAST = "a broadcast or reduced dimension is summed wrongly"
    SWAPPED = "belongs to another input"
    CONJUGATE = "lacks a conjugate"
    COTANGENT = "does not use the cotangent linearly"
    LAYOUT = "reads or writes memory in the wrong order"
    MUTATION = "modifies what is not its own"
    STATE = "keeps state between calls"
    PRECISION = "computes in less precision than its inputs have"
    ENTRY = "wrong at single entries"
    SPECIAL = "wrong at special values only"
    REGION = "wrong in a region of values"
    SIZE = "wrong for some sizes"
    OVERFLOW = "not finite where the derivative is"
    FORM = "has the wrong shape, dtype or number of gradients, or raises"
    SUBSET = "depends on which inputs require grad"
    OUTPUT = "depends on which outputs are used"
    RANDOM = "not the same when repeated"
    MODE = "wrong in one mode"
    FORWARD_RULE = "the forward-mode rule is wrong"
    BATCHING_RULE = "the batching rule is wrong"
    SECOND_ORDER = "wrong when differentiated again"
