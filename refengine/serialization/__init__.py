"""Saving and loading in PyTorch's file format, without PyTorch; a load executes nothing unless it is told to."""

from __future__ import annotations

from refengine.serialization.errors import FormatError as FormatError
from refengine.serialization.errors import RefusedError as RefusedError
from refengine.serialization.errors import SaveError as SaveError
from refengine.serialization.loading import load as load
from refengine.serialization.safe import add_safe_globals as add_safe_globals
from refengine.serialization.safe import clear_safe_globals as clear_safe_globals
from refengine.serialization.safe import get_safe_globals as get_safe_globals
from refengine.serialization.safe import safe_globals as safe_globals
from refengine.serialization.saving import save as save
