"""PyTorch as an engine. The only file of the package that imports torch, and only when the engine is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from gradcheck.engines.base import Function
from gradcheck.engines.torchlike import TorchLike
from gradcheck.program import Array


class TorchEngine(TorchLike):
    """The adapter of PyTorch.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:1".
    """

    name = "torch"

    def __init__(self, device: str = "cpu") -> None:
        import torch

        super().__init__(torch, device)

    def array(self, tensor: Any) -> Array:
        """A copy of the values as a NumPy array; bfloat16, which NumPy lacks, comes as float32."""
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        return np.array((tensor.float() if tensor.dtype == self.library.bfloat16 else tensor).numpy())

    def jvp(
        self, function: Function, primals: Sequence[Any], tangents: Sequence[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any | None, ...]]:
        """Outputs and their tangents (None: not connected) by forward mode."""
        _load_forward_mode()
        return super().jvp(function, primals, tangents)

    @contextmanager
    def sandbox(self, seed: int) -> Iterator[None]:
        """Gradients on (inference mode off) and the generators seeded inside; everything as before afterwards."""
        devices = [] if self.device == "cpu" else [self.device]
        with (
            self.library.random.fork_rng(devices=devices),
            self.library.inference_mode(False),
            self.library.enable_grad(),
        ):
            self.seed(seed)
            yield

    def call_module(self, module: Any, state: Mapping[str, Any], args: Sequence[Any]) -> Any:
        """Call `module` with the parameters and buffers named in `state` in place of its own (tied ones included)."""
        return self.library.func.functional_call(module, dict(state), tuple(args))


@cache
def _load_forward_mode() -> None:
    """Make the first dual tensor of the process, for which PyTorch compiles rules by its own deprecated means."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        with torch.autograd.forward_ad.dual_level():
            torch.autograd.forward_ad.make_dual(torch.ones(()), torch.ones(()))
