"""The mix-in that Tensor inherits its operations from; `derive.py` fills it from the catalogue."""

from __future__ import annotations


class TensorMethods:
    """Every method and in-place method that an op declaration brings."""

    __slots__ = ()
