"""Every exception of the engine, one class per cause.

Where PyTorch raises, ours is a subclass of the type PyTorch raises, so that code written for PyTorch catches it.
"""

from __future__ import annotations


class RefengineError(Exception):
    """Base of all."""


class AutogradError(RefengineError, RuntimeError):
    """A backward pass was asked for something it cannot give."""


class NonScalarBackwardError(AutogradError):
    """`backward()` without a gradient on a tensor that is not a scalar."""


class FreedGraphError(AutogradError):
    """A graph was run backward a second time after its saved values were freed."""


class InplaceError(AutogradError):
    """An in-place operation that the rules refuse."""


class StaleSaveError(InplaceError):
    """A value saved for the backward pass was modified after it was saved.

    Attributes
    ----------
    op : str
        The operation whose saved value is stale.
    found, expected : int
        The version counter now, and when the value was saved.
    """

    def __init__(self, op: str, found: int, expected: int, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"{op}: a tensor of shape {shape} that it saved for the backward pass has been modified by an in-place "
            f"operation: it is at version {found}, expected version {expected}; clone it before the modification, or "
            "use the out-of-place form"
        )
        self.op, self.found, self.expected = op, found, expected


class ShapeError(RefengineError, RuntimeError):
    """Shapes that do not go together."""


class RepeatedAxisError(ShapeError):
    """An axis that is named twice."""


class ViewError(ShapeError):
    """A view that the strides do not allow."""


class LayoutError(ShapeError, ValueError):
    """A memory layout that tensors cannot have."""


class RangeError(ShapeError, ValueError):
    """Bounds and a step that make no sequence."""


class DataError(RefengineError, TypeError, ValueError, RuntimeError):
    """Values that make no tensor; PyTorch raises one or the other of these three."""


class DTypeError(RefengineError, RuntimeError):
    """A dtype that the operation does not take."""


class DimensionError(RefengineError, IndexError):
    """An axis or an index out of range."""


class PositionError(DimensionError, RuntimeError):
    """Indices out of range, or that do not fit what is read or written; PyTorch raises one type or the other."""


class ArgumentError(RefengineError, TypeError):
    """An argument of the wrong kind."""


class DeviceError(RefengineError, RuntimeError):
    """A device that is not there, or operands on different devices."""


class UnsupportedError(RefengineError, NotImplementedError):
    """Something PyTorch has and this engine does not."""


class UnsupportedGradError(AutogradError, UnsupportedError):
    """An option of `autograd.grad` that is not offered."""
