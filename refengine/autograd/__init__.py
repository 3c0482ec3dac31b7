"""Recording and differentiating: the face of the package, as PyTorch shapes it.

Imported before `refengine.op`, which needs the graph that is imported first here.
"""

from refengine.autograd import engine, graph, inplace, modes  # isort: split

from refengine.autograd import forward_ad, function, tracing
from refengine.autograd.engine import backward, grad
from refengine.autograd.function import Function
from refengine.autograd.modes import enable_grad, no_grad, set_grad_enabled

__all__ = [
    "Function", "backward", "enable_grad", "engine", "forward_ad", "function", "grad", "graph", "inplace", "modes",
    "no_grad", "set_grad_enabled", "tracing",
]  # fmt: skip
