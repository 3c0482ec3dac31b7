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

# In 2.13, for a contiguous input in train mode, the backward reads the memory of a strided weight as if it were
# contiguous, and the gradient is silently wrong. Found by `layout_does_not_matter`.
_STRIDED_WEIGHT_IS_MISREAD = frozenset({"batch_norm"})


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

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """Call op `op` in PyTorch's spelling, around the faults of PyTorch that are known."""
        if op in _STRIDED_WEIGHT_IS_MISREAD:
            args = args[:1] + tuple(self._contiguous(value) for value in args[1:])
            kwargs = {name: self._contiguous(value) for name, value in kwargs.items()}
        return super().call(op, args, kwargs, inplace=inplace)

    def _contiguous(self, value: Any) -> Any:
        return value.contiguous() if self.is_tensor(value) else value

    def array(self, tensor: Any) -> Array:
        """A copy of the values as a NumPy array; bfloat16, which NumPy lacks, comes as float32."""
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        return np.array((tensor.float() if tensor.dtype == self.library.bfloat16 else tensor).numpy())

    def backward(self, outputs: Sequence[Any], cotangents: Sequence[Any], *, retain_graph: bool = False) -> None:
        """Accumulate into the leaves' `.grad`; what PyTorch says about the speed of odd layouts is left unsaid."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "grad and param do not obey", UserWarning)
            super().backward(outputs, cotangents, retain_graph=retain_graph)

    def jvp(
        self, function: Function, primals: Sequence[Any], tangents: Sequence[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any | None, ...]]:
        """Outputs and their tangents (None: not connected) by forward mode."""
        _load_forward_mode()
        return super().jvp(function, primals, tangents)

    def seed(self, value: int) -> None:
        """Seed the default generator of the engine's device, and that one alone."""
        self._generator().manual_seed(value)

    @contextmanager
    def sandbox(self, seed: int) -> Iterator[None]:
        """Gradients on (inference mode off) and the generator seeded inside; everything as before afterwards."""
        generators = {id(g): g for g in (self.library.default_generator, self._generator())}.values()
        before = [(generator, generator.get_state()) for generator in generators]
        try:
            with self.library.inference_mode(False), self.library.enable_grad():
                for generator in generators:
                    generator.manual_seed(seed)
                yield
        finally:
            for generator, state in before:
                generator.set_state(state)

    @contextmanager
    def casts(self) -> Iterator[Sequence[str]]:
        """Gives a list of the casts from a floating dtype to a narrower one, in forward and backward passes inside."""
        seen: list[str] = []
        with _watcher(seen):
            yield seen

    def _generator(self) -> Any:
        device = self.library.device(self.device)
        if device.type == "cpu":
            return self.library.default_generator
        self.library.cuda.init()
        return self.library.cuda.default_generators[device.index or 0]


@cache
def _load_forward_mode() -> None:
    """Make the first dual tensor of the process, for which PyTorch compiles rules by its own deprecated means."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        with torch.autograd.forward_ad.dual_level():
            torch.autograd.forward_ad.make_dual(torch.ones(()), torch.ones(()))


def _watcher(seen: list[str]) -> Any:
    """A dispatch mode that notes casts to a lower precision: conversions, and values written into a narrower buffer."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    convert, write = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default

    class Watcher(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
        """Sees every op below autograd, inside user-defined Functions too."""

        def __torch_dispatch__(
            self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            result = op(*args, **(kwargs or {}))
            if op is convert:
                note(args[0].dtype, result.dtype)
            elif op is write:
                note(args[1].dtype, args[0].dtype)
            return result

    def note(before: torch.dtype, after: torch.dtype) -> None:
        if before.is_floating_point and after.is_floating_point and after.itemsize < before.itemsize:
            seen.append(f"a cast from {before} to {after}")

    return Watcher()
