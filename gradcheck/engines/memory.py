"""Which tensors share memory, by the addresses they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The memory that one tensor uses: `start` is its first byte, `end` lies behind its last."""

    device: str
    start: int
    end: int


def shared(spans: Sequence[Span]) -> list[tuple[Span, list[int]]]:
    """Spans that overlap, united, each with the numbers of those in it; one without a byte stands alone."""
    order = sorted(range(len(spans)), key=lambda i: (spans[i].device, spans[i].start, spans[i].end))
    groups: list[tuple[Span, list[int]]] = []
    for i in order:
        span = spans[i]
        last = groups[-1][0] if groups else None
        if last is not None and last.device == span.device and span.start < last.end and span.start < span.end:
            groups[-1] = Span(span.device, last.start, max(last.end, span.end)), [*groups[-1][1], i]
        else:
            groups.append((span, [i]))
    return groups
