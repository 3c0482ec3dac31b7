"""Parameter and Buffer: tensors that a module counts as its own."""

from __future__ import annotations

from refengine import creation
from refengine.tensor import Tensor


class Parameter(Tensor):
    """A leaf that, set as an attribute of a Module, is one of its parameters.

    Parameters
    ----------
    data : Tensor, optional
        Its values; the memory is shared. None makes it empty.
    requires_grad : bool
        Whether operations on it are recorded.
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        data = creation.empty(0) if data is None else data
        super().__init__(data.array, data.storage, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that, set as an attribute of a Module, is part of its state and no parameter.

    Parameters
    ----------
    data : Tensor, optional
        Its values; the memory is shared. None makes it empty.
    persistent : bool
        Whether the module's state_dict has it.
    """

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        data = creation.empty(0) if data is None else data
        super().__init__(data.array, data.storage, data.requires_grad)
        self.persistent = persistent
