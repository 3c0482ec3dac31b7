"""Devices: a name and an index. What a device can do is its backend's business."""

from __future__ import annotations

from dataclasses import dataclass

from refengine.errors import DeviceError


@dataclass(frozen=True, slots=True)
class device:
    """A device such as ``cpu`` or ``cuda:0``.

    Raises
    ------
    DeviceError
        If the text is not ``type`` or ``type:index``.
    """

    type: str
    index: int | None = None

    def __post_init__(self) -> None:
        if ":" in self.type:
            name, _, index = self.type.partition(":")
            if not index.isdecimal() or self.index is not None:
                raise DeviceError(f"device: expected 'type' or 'type:index', got {self.type!r}; write 'cuda:0', say")
            object.__setattr__(self, "type", name)
            object.__setattr__(self, "index", int(index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


CPU = device("cpu")


def of(value: str | device | None) -> device:
    """The device meant by `value`; None is the CPU."""
    if value is None:
        return CPU
    return value if isinstance(value, device) else device(value)
