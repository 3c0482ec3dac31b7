"""A reference autograd engine with PyTorch's eager semantics."""

from refengine import derive, namespace
