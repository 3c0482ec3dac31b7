"""What saving and loading raise, one class for each cause."""

from __future__ import annotations

import pickle

from refengine.errors import ArgumentError, RefengineError


class FormatError(RefengineError, RuntimeError):
    """A file that is no whole, sound archive of PyTorch's zip format."""


class RefusedError(RefengineError, pickle.UnpicklingError):
    """A file that asks for something that a safe load does not do.

    Attributes
    ----------
    name : str or None
        The global that was refused, where it was one.
    """

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


class SaveError(RefengineError, pickle.PicklingError, RuntimeError):
    """An object that cannot be saved."""


class SavingArgumentError(ArgumentError, AttributeError, ValueError):
    """An argument of `save` or `load` that is no file, or does not go together with another."""
