"""The module functions that declarations bring, as names to import; functions.pyi, which is generated, types them."""

from __future__ import annotations

from refengine.derive import functions

_made = functions()
__all__ = tuple(_made)
globals().update(_made)
