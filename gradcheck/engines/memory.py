"""Which tensors share memory, by the addresses they use, and copies that share it as they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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


class Copying:
    """The part of an adapter that copies tensors of PyTorch's interface; how memory is copied, a subclass says."""

    def dtype_name(self, tensor: Any) -> str:
        """The dtype of `tensor` without the library's name ("bfloat16")."""
        return str(tensor.dtype).rpartition(".")[2]

    def is_transformed(self, value: object) -> bool:
        """False: this engine has no function transforms."""
        return False

    def why_not_copied(self, tensor: Any) -> str:
        """Why `snapshot` cannot copy `tensor`; "" where it can."""
        return ""

    def extent(self, tensors: Sequence[Any]) -> int:
        """How many bytes `snapshot` would copy."""
        return sum(span.end - span.start for span, _ in shared([self._span(tensor) for tensor in tensors]))

    def snapshot(self, tensors: Sequence[Any]) -> list[Any]:
        """Copies as leaves: same dtype, device, shape, strides and requires_grad; what shared memory shares it."""
        copies: list[Any] = [None] * len(tensors)
        for span, members in shared([self._span(tensor) for tensor in tensors]):
            for i, copied in zip(members, self._copied(span, [tensors[i] for i in members]), strict=True):
                copies[i] = copied.requires_grad_() if tensors[i].requires_grad else copied
        return copies

    def _span(self, tensor: Any) -> Span:
        """The memory that `tensor` uses."""
        start = int(tensor.data_ptr())
        reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        size = (reach + 1) * tensor.element_size() if tensor.numel() else 0
        return Span(str(tensor.device), start, start + size)

    def _copied(self, span: Span, tensors: Sequence[Any]) -> list[Any]:
        """Tensors like those given, without history, that look at one copy of `span`, in which they all lie."""
        raise NotImplementedError
