"""A reference autograd engine with PyTorch's eager semantics, under PyTorch's names.

Names that hide Python's own (`sum`, `abs`, `bool`, …) are meant to be used with a prefix: ``import refengine as re``.
"""

# ruff: noqa: F403 - each module's __all__ says what is public; functions.pyi lists the ops

from __future__ import annotations

from refengine import autograd as autograd
from refengine import dtypes as _dtypes
from refengine import namespace as namespace
from refengine import nn as nn
from refengine import optim as optim
from refengine import serialization as serialization
from refengine.autograd.modes import enable_grad as enable_grad
from refengine.autograd.modes import is_grad_enabled as is_grad_enabled
from refengine.autograd.modes import no_grad as no_grad
from refengine.autograd.modes import set_grad_enabled as set_grad_enabled
from refengine.creation import *
from refengine.devices import device as device
from refengine.dtypes import *
from refengine.functions import *
from refengine.inspection import *
from refengine.layout import Size as Size
from refengine.printing import set_printoptions as set_printoptions
from refengine.random import *
from refengine.serialization.loading import load as load
from refengine.serialization.saving import save as save
from refengine.tensor import Tensor as Tensor

bool, int, float = _dtypes.bool_, _dtypes.int32, _dtypes.float32
get_default_dtype, set_default_dtype, promote_types = _dtypes.default, _dtypes.set_default, _dtypes.promote
