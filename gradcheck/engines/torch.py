"""PyTorch as an engine. The only file of the package that imports torch, and only when the engine is made."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

import numpy as np

from gradcheck.engines.base import Capability, Function
from gradcheck.engines.memory import Span
from gradcheck.engines.torchlike import TorchLike
from gradcheck.failures import Unsupported
from gradcheck.program import Array


class Stage(Enum):
    """Where a fault shows; the rest of the op is tried as any other."""

    FORWARD = "the forward pass raises"
    TANGENT = "forward mode is wrong"
    BACKWARD = "the backward pass raises or is wrong"
    MIXED = "the backward pass is wrong where input or cotangent is contiguous and the other is not"
    RECORDED = "the gradient is right, its own derivative is not"
    PUSHED = "the tangent is right, its own gradient is not"


@dataclass(frozen=True, slots=True)
class Fault:
    """What PyTorch gets wrong, known and left out of the property suite; a user's function never is.

    Attributes
    ----------
    op : str
    reason : str
        What is wrong, as it stands in the summary; docs/engines.md has a script for each.
    applies : callable
        Whether a call has it: takes the positional arguments and the keywords.
    stage : Stage
    """

    op: str
    reason: str
    applies: Callable[[tuple[Any, ...], Mapping[str, Any]], bool]
    stage: Stage = Stage.BACKWARD


def _is_smaller_than_bounds(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    x, low, high = (_argument(args, kwargs, *place) for place in ((0, "input"), (1, "min"), (2, "max")))
    if getattr(low, "shape", None) is None or getattr(high, "shape", None) is None:
        return False
    whole = np.broadcast_shapes(x.shape, low.shape, high.shape)
    return any(np.broadcast_shapes(x.shape, bound.shape) != whole for bound in (low, high))


def _has_strided_weight(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    weight = _argument(args, kwargs, 3, "weight")
    return weight is not None and not weight.is_contiguous() and bool(_argument(args, kwargs, 5, "training"))


def _has_many_axes(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return bool(args[0].ndim >= 4 and _argument(args, kwargs, 5, "training"))


def _is_normalized_with_bias_alone(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """The order of the arguments is that of batch_norm; layer_norm has its shape in the place of two moments."""
    places = (2, 3) if isinstance(args[1], (tuple, list)) else (3, 4)
    weight, bias = (_argument(args, kwargs, *place) for place in zip(places, ("weight", "bias"), strict=True))
    return weight is None and getattr(bias, "requires_grad", False)


def _is_in_training(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return bool(_argument(args, kwargs, 5, "training"))


def _takes_a_number(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return getattr(_argument(args, kwargs, 1, "other"), "shape", None) is None


def _is_a_strided_image(args: tuple[Any, ...], _: Mapping[str, Any]) -> bool:
    return args[0].ndim == 4 and not args[0].is_contiguous()


def _is_strided_and_flattened(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    tensors = args[0], _argument(args, kwargs, 1, "indices")
    return _argument(args, kwargs, 2, "dim") is None and not all(tensor.is_contiguous() for tensor in tensors)


def _has_zero_exponent(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    exponent = _argument(args, kwargs, 1, "exponent")
    return getattr(exponent, "requires_grad", False) and bool((exponent == 0).any())


def _has_index_smaller_than_source(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    index, source = _argument(args, kwargs, 2, "index"), _argument(args, kwargs, 3, "src")
    return getattr(source, "requires_grad", False) and index.shape != source.shape


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


FAULTS = (
    Fault("clamp", "the backward of clamp raises where two tensor bounds broadcast the input", _is_smaller_than_bounds),
    Fault("batch_norm", "the backward of batch_norm misreads a strided weight", _has_strided_weight),
    Fault("batch_norm", "the backward of batch_norm mixes up layouts of images", _has_many_axes, Stage.MIXED),
    Fault("nll_loss", "the backward of nll_loss refuses a strided image", _is_a_strided_image),
    Fault(
        "take_along_dim", "take_along_dim refuses to flatten a strided tensor", _is_strided_and_flattened, Stage.FORWARD
    ),
    Fault("scatter", "the backward of scatter needs an index of the source's shape", _has_index_smaller_than_source),
    Fault("pow", "the second derivative of pow is wrong at exponent 0", _has_zero_exponent, Stage.RECORDED),
    *(
        Fault(
            op,
            f"the second derivative of {op} raises with a bias alone",
            _is_normalized_with_bias_alone,
            Stage.RECORDED,
        )
        for op in ("batch_norm", "layer_norm")
    ),
    *(
        Fault(op, f"the tangent of {op} shares memory with that of its input", _takes_a_number, Stage.TANGENT)
        for op in ("frac", "fmod", "remainder")
    ),
    Fault(
        "binary_cross_entropy",
        "the second derivative of binary_cross_entropy has 1e-12 added to a denominator",
        lambda args, kwargs: True,
        Stage.RECORDED,
    ),
    Fault("batch_norm", "the gradient of batch_norm's tangent is wrong", _is_in_training, Stage.PUSHED),
    Fault("layer_norm", "the gradient of layer_norm's tangent is wrong", lambda args, kwargs: True, Stage.PUSHED),
)
"""What PyTorch 2.13 gets wrong: found by the claims, or documented by PyTorch (scatter)."""


class TorchEngine(TorchLike):
    """The adapter of PyTorch.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:1".
    """

    name = "torch"
    capabilities = frozenset(Capability)

    def __init__(self, device: str = "cpu") -> None:
        import torch

        super().__init__(torch, device)

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """Call op `op` in PyTorch's spelling; a pass that meets a known fault raises `Unsupported`."""
        faults = [fault for fault in FAULTS if fault.op == op and fault.applies(args, kwargs)]
        for fault in faults:
            if fault.stage is Stage.FORWARD or (fault.stage is Stage.TANGENT and self._tangent(args[0]) is not None):
                raise Unsupported(fault.reason)
        result = super().call(op, args, kwargs, inplace=inplace)
        for fault in faults:
            shown = self._tangent(result) if fault.stage is Stage.PUSHED else result
            if shown is not None and shown.grad_fn is not None:
                shown.grad_fn.register_prehook(self._refusal(fault, bool(args[0].is_contiguous())))
        return result

    def _refusal(self, fault: Fault, is_contiguous: bool) -> Callable[[Sequence[Any]], None]:
        """A hook on the backward pass of a call with this fault, whose input is contiguous or not."""

        def refuse(cotangents: Sequence[Any]) -> None:
            meets = {
                Stage.BACKWARD: True,
                Stage.PUSHED: True,
                Stage.MIXED: cotangents[0] is not None and cotangents[0].is_contiguous() != is_contiguous,
                Stage.RECORDED: self.library.is_grad_enabled(),
            }
            if meets.get(fault.stage):
                raise Unsupported(fault.reason)

        return refuse

    def _tangent(self, tensor: Any) -> Any | None:
        return self.library.autograd.forward_ad.unpack_dual(tensor).tangent

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """One thread inside: on tensors as small as those drawn, a pool of threads costs four times what it saves."""
        before = self.library.get_num_threads()
        self.library.set_num_threads(1)
        try:
            yield
        finally:
            self.library.set_num_threads(before)

    def array(self, tensor: Any) -> Array:
        """A copy of the values as a NumPy array; bfloat16, which NumPy lacks, comes as float32."""
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        return np.array((tensor.float() if tensor.dtype == self.library.bfloat16 else tensor).numpy(force=True))

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

    def vmap(self, function: Function, inputs: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, ...]:
        """The outputs for a batch; what PyTorch says about the speed of an op without a rule is left unsaid."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            result = self.library.vmap(function, in_dims=tuple(axes))(*inputs)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    def keeps(self, function: Function, inputs: Sequence[Array]) -> bool:
        """Whether an input of a call, or a result of an op in it, is still there when all that it gave is gone."""
        seen: list[weakref.ref[Any]] = []
        with _watcher_of_results(seen), self.no_grad():
            tensors = [self.tensor(x) for x in inputs]
            seen += map(weakref.ref, tensors)
            function(*tensors)
        del tensors
        if any(made() is not None for made in seen):
            gc.collect()  # a Function's context and what it holds may be a cycle
        return any(made() is not None for made in seen)

    def seed(self, value: int) -> None:
        """Seed the default generator of the engine's device, and that one alone."""
        self._generator().manual_seed(value)

    @contextmanager
    def sandbox(self, seed: int) -> Iterator[None]:
        """Gradients on (inference mode off) and the generator seeded inside; everything as before afterwards."""
        generators = self._generators()
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
        with _watcher_of_casts(seen):
            yield seen

    @contextmanager
    def underflows(self) -> Iterator[list[str]]:
        """Gives a list of the ops inside whose float16 result is too small for all of its digits, also in backward."""
        with super().underflows() as seen, _watcher_of_underflow(seen):
            yield seen

    def _own_random_state(self) -> Any:
        return [generator.get_state() for generator in self._generators()]

    def _set_own_random_state(self, state: Any) -> None:
        for generator, its_state in zip(self._generators(), state, strict=True):
            generator.set_state(its_state)

    def is_transformed(self, value: object) -> bool:
        """Whether `value` is a tensor inside vmap, grad, jvp or functionalize."""
        return self.is_tensor(value) and bool(self.library._C._functorch.is_functorch_wrapped_tensor(value))

    def why_not_copied(self, tensor: Any) -> str:
        """Why `snapshot` cannot copy `tensor`; "" where it can."""
        library = self.library
        if type(tensor) not in (library.Tensor, library.nn.Parameter):
            return f"a tensor of the class {type(tensor).__name__}"
        if tensor.is_nested:
            return "a nested tensor"
        if tensor.layout is not library.strided:
            return "a sparse tensor"
        if tensor.is_quantized:
            return "a quantized tensor"
        return "a tensor without values (meta)" if tensor.is_meta else ""

    def _copied(self, span: Span, tensors: Sequence[Any]) -> list[Any]:
        """Looks at one copy of the memory."""
        library, storage, device = self.library, tensors[0].untyped_storage(), tensors[0].device
        unit = max(tensor.element_size() for tensor in tensors)
        # Aligned from the start of the storage, for tensors of several dtypes in it.
        skipped = (span.start - storage.data_ptr()) // unit * unit if span.end > span.start else 0
        first = storage.data_ptr() + skipped if span.end > span.start else span.start
        size = span.end - first
        taken = library.empty(0, dtype=library.uint8, device=device).set_(storage, skipped, (size,), (1,))
        memory = library.zeros(-(-size // unit) * unit, dtype=library.uint8, device=device)
        memory[:size] = taken
        copies = []
        for tensor in tensors:
            offset = (tensor.data_ptr() - first) // tensor.element_size() if tensor.numel() else 0
            look = memory.view(tensor.dtype).as_strided(tuple(tensor.shape), tensor.stride(), offset).detach()
            look = library._conj(look) if tensor.is_conj() else look
            copies.append(library._neg_view(look) if tensor.is_neg() else look)
        return copies

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing done inside is recorded, or seen by a dispatch or function mode that the caller has entered."""
        from torch.utils._python_dispatch import _disable_current_modes

        with ExitStack() as stack:
            stack.enter_context(self.library._C.DisableTorchFunction())
            stack.enter_context(_disable_current_modes())
            stack.enter_context(self.library.inference_mode(False))
            stack.enter_context(self.library.no_grad())
            yield

    def _generators(self) -> list[Any]:
        """The generators of the CPU and of the engine's device, each once."""
        return list({id(g): g for g in (self.library.default_generator, self._generator())}.values())

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


def _watcher(around: Callable[[Callable[[], Any], Any, tuple[Any, ...], dict[str, Any]], Any]) -> Any:
    """A dispatch mode that calls ``around(run, op, args, kwargs)`` for every op; it gives what ``run()`` gives."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watcher(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
        """Sees every op below autograd, inside user-defined Functions too."""

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            # Otherwise the first op seen imports PyTorch's compiler, which takes two seconds, to keep away from it.
            return False

        def __torch_dispatch__(
            self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            own = kwargs or {}
            return around(lambda: op(*args, **own), op, args, own)

    return Watcher()


def _watcher_of_casts(seen: list[str]) -> Any:
    """Notes casts to a lower precision: conversions, and values written into a narrower buffer."""
    import torch

    convert, write = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default

    def around(run: Callable[[], Any], op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = run()
        if op is convert:
            note(args[0].dtype, result.dtype)
        elif op is write:
            note(args[1].dtype, args[0].dtype)
        return result

    def note(before: torch.dtype, after: torch.dtype) -> None:
        if before.is_floating_point and after.is_floating_point and after.itemsize < before.itemsize:
            seen.append(f"a cast from {before} to {after}")

    return _watcher(around)


def _watcher_of_results(seen: list[weakref.ref[Any]]) -> Any:
    """Notes every tensor that an op gives, and keeps none of them."""
    import torch
    from torch.utils._pytree import tree_leaves

    def around(run: Callable[[], Any], op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = run()
        seen.extend(weakref.ref(y) for y in tree_leaves(result) if isinstance(y, torch.Tensor))
        return result

    return _watcher(around)


def _watcher_of_underflow(seen: list[str]) -> Any:
    """Notes ops whose float16 results are below its normal numbers, as the same op in float32 tells."""
    import torch
    from torch.utils._pytree import tree_leaves, tree_map

    least = torch.finfo(torch.float16).smallest_normal

    def around(run: Callable[[], Any], op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = tree_map(raised, (args, kwargs))  # before the op, which may write into its operands
        result = run()
        if any(is_half(y) for y in tree_leaves(result)):
            note(op, given)
        return result

    def is_half(value: object) -> bool:
        return isinstance(value, torch.Tensor) and value.dtype == torch.float16

    def raised(value: Any) -> Any:
        if value is torch.float16:
            return torch.float32
        return value.float() if is_half(value) else value

    def note(op: Any, given: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        try:
            again = tree_leaves(op(*given[0], **given[1]))
        except Exception:  # an op that float32 has not
            return
        small = [((y != 0.0) & (y.abs() < least)).any() for y in again if isinstance(y, torch.Tensor)]
        if any(bool(one) for one in small):
            seen.append(f"a result of {op} below {least:.2g}")

    return _watcher(around)
