"""The adapter of every engine with PyTorch's eager interface, written once over that engine's namespace."""

from __future__ import annotations

import copy
import inspect
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import numpy as np

from gradcheck.engines.base import Capability, Conventions, Function, Linearized
from gradcheck.engines.keeping import bring_back, keeper_of_buffer, keeper_of_gradient, keeper_of_values
from gradcheck.engines.memory import Copying
from gradcheck.engines.place import place_of
from gradcheck.engines.recorded import recorded
from gradcheck.failures import Unsupported, UsageError, said
from gradcheck.program import Array

# What a refusal says, in PyTorch's words, when the fault is not the gradient's but a rule that does not exist.
_REFUSALS = (
    "once_differentiable",
    "forward ad",
    "forward mode",
    "forward-mode",
    "jvp",
    "does not require grad",
    "is not differentiable with respect to argument",
)


class TorchLike(Copying):
    """An engine spoken to through a namespace shaped like ``torch``.

    A subclass names the engine and its library's module; what its library lacks or spells otherwise, it overrides.

    Parameters
    ----------
    library : module
        The namespace: ``tensor functions``, ``Tensor``, ``autograd``, ``nn``, ``no_grad``, dtypes.
    device : str
        Where new tensors live.
    """

    name: str
    refusals: tuple[type[Exception], ...] = (RuntimeError,)
    capabilities = frozenset(Capability) - {Capability.VMAP}
    conventions = Conventions()
    context_class = "FunctionCtx"
    """Of ``autograd.function``: what a Function's forward marks its outputs with."""

    def __init__(self, library: Any, device: str = "cpu") -> None:
        self.library = library
        self.device = device
        self._resolved: dict[tuple[str, bool], Callable[..., Any] | None] = {}

    def __repr__(self) -> str:
        return f"<engine {self.name} on {self.device}>"

    # Ops -------------------------------------------------------------------------------------------------------

    def supports(self, op: str, *, inplace: bool = False) -> bool:
        """Whether the engine has op `op` (refengine's name), or its in-place form."""
        return self._resolve(op, inplace) is not None

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """Call op `op` in PyTorch's spelling; what returns nothing (``__setitem__``) gives back its first argument."""
        target = self._resolve(op, inplace)
        if target is None:
            raise UsageError(f"{self.name}: has no op {op + '_' if inplace else op!r}")
        try:
            result = target(*args, **kwargs)
        except RuntimeError as error:
            _raise_refusal(error)
            raise
        return args[0] if result is None else result

    def _resolve(self, op: str, inplace: bool) -> Callable[..., Any] | None:
        key = op, inplace
        if key not in self._resolved:
            self._resolved[key] = self._find(op, inplace)
        return self._resolved[key]

    def _find(self, op: str, inplace: bool) -> Callable[..., Any] | None:
        declared = _declarations().get(op)
        spelled = op if declared is None else declared.elsewhere.get(self.name, op)
        if inplace and not spelled.endswith("__"):
            spelled += "_"
        library = self.library
        places = [library.Tensor, library, library.nn.functional]
        if declared is not None and declared.form == "function" and not inplace:
            places = [library, library.nn.functional]
        for place in places:
            found = _attribute(place, spelled)
            if found is not None:
                return found if callable(found) else operator.attrgetter(spelled)
        return None

    # Tensors ---------------------------------------------------------------------------------------------------

    def tensor(self, values: Array, *, requires_grad: bool = False) -> Any:
        """A new leaf with the values, dtype, strides and offset of `values`; memory is not shared.

        A negative stride, or one that is no multiple of the item size, is copied to a contiguous layout. Gaps between
        strided entries hold NaN (or the largest integer), so that whoever reads them shows it.
        """
        values = np.asarray(values)
        base = values.base
        if values.flags.c_contiguous and (base is None or _is_all_of(values, base)):
            made = self.library.from_numpy(values.copy())
        else:
            memory, shape, strides, offset = _memory(values)
            # The detached tensor is no view to the engine, as a leaf that a user made is none.
            made = self._look(memory, shape, strides, offset).detach()
        if self.device != "cpu":
            made = self._moved(made)
        return made.requires_grad_() if requires_grad else made

    def _look(self, memory: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
        """A tensor that looks at `memory`; shape, strides and offset in elements."""
        return self.library.from_numpy(memory).as_strided(shape, strides, offset)

    def _moved(self, tensor: Any) -> Any:
        """A copy on the engine's device that keeps the layout."""
        span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) if tensor.numel() else 0
        offset = tensor.storage_offset()
        memory = tensor.as_strided((offset + span,), (1,), 0).to(self.device)
        return memory.as_strided(tuple(tensor.shape), tensor.stride(), offset).detach()

    def array(self, tensor: Any) -> Array:
        """A copy of the values as a NumPy array (never a view, no history)."""
        detached = tensor.detach()
        return np.array((detached if self.device == "cpu" else detached.cpu()).numpy())

    def is_tensor(self, value: object) -> bool:
        """Whether `value` is this engine's tensor."""
        return isinstance(value, getattr(self.library, "Tensor", ()))

    def device_of(self, tensor: Any) -> str:
        """The device of `tensor` ("cpu", "cuda:0")."""
        return str(tensor.device)

    def kind(self, tensor: Any) -> str:
        """NumPy's letter for the dtype: "f" floating, "c" complex, "i" for all else."""
        if tensor.is_floating_point():
            return "f"
        return "c" if tensor.is_complex() else "i"

    def requires_grad(self, tensor: Any) -> bool:
        """Whether a gradient flows to `tensor`."""
        return bool(tensor.requires_grad)

    def strides(self, tensor: Any) -> tuple[int, ...]:
        """Strides in elements."""
        return tuple(tensor.stride())

    def cast(self, tensor: Any, dtype: str) -> Any:
        """`tensor` in the dtype of that name, as an operation that gradients flow through."""
        found = getattr(self.library, dtype, None)
        if found is None:
            raise Unsupported(f"{self.name} has no {dtype}")
        return tensor.to(found)

    def version(self, tensor: Any) -> int:
        """The in-place version counter."""
        return int(tensor._version)

    # Derivatives -----------------------------------------------------------------------------------------------

    def grad(
        self,
        outputs: Sequence[Any],
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        *,
        create_graph: bool = False,
        retain_graph: bool = False,
    ) -> tuple[Any | None, ...]:
        """Vector-Jacobian product: one gradient (or None, unconnected) for each of `inputs`. `.grad` is left alone."""
        pairs = [(y, u) for y, u in zip(outputs, cotangents, strict=True) if y.requires_grad]
        wanted = [x for x in inputs if x.requires_grad]
        if not pairs or not wanted:
            return (None,) * len(inputs)
        with self._refusal_is_no_verdict():
            found = iter(
                self.library.autograd.grad(
                    [y for y, _ in pairs],
                    wanted,
                    [u for _, u in pairs],
                    retain_graph=retain_graph or create_graph,
                    create_graph=create_graph,
                    allow_unused=True,
                )
            )
        return tuple(next(found) if x.requires_grad else None for x in inputs)

    def linearized(self, function: Function, tensors: Sequence[Any], wanted: Sequence[bool]) -> Linearized:
        """`function` at `tensors`, recorded on leaves: those wanted that require grad, and new ones for the others."""
        leaves = [
            x.detach().requires_grad_() if is_wanted and not x.requires_grad else x
            for x, is_wanted in zip(tensors, wanted, strict=True)
        ]
        return recorded(self, function, leaves, wanted)

    def evaluating(self) -> AbstractContextManager[None]:
        """Nothing: a tensor keeps its dtype."""
        return nullcontext()

    def backward(self, outputs: Sequence[Any], cotangents: Sequence[Any], *, retain_graph: bool = False) -> None:
        """Accumulate into the leaves' `.grad`; outputs without a history are left out."""
        pairs = [(y, u) for y, u in zip(outputs, cotangents, strict=True) if y.requires_grad]
        if pairs:
            ys, us = zip(*pairs, strict=True)
            self.library.autograd.backward(list(ys), list(us), retain_graph=retain_graph)

    def accumulated(self, tensor: Any) -> Any | None:
        """The `.grad` of a leaf."""
        return tensor.grad

    def jvp(
        self, function: Function, primals: Sequence[Any], tangents: Sequence[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any | None, ...]]:
        """Outputs and their tangents (None: not connected) by forward mode."""
        forward_ad = self.library.autograd.forward_ad
        with self._refusal_is_no_verdict(), forward_ad.dual_level():
            result = function(*(forward_ad.make_dual(x, t) for x, t in zip(primals, tangents, strict=True)))
            duals = tuple(result) if isinstance(result, (tuple, list)) else (result,)
            pairs = [forward_ad.unpack_dual(dual) for dual in duals]
        return tuple(p.primal for p in pairs), tuple(p.tangent for p in pairs)

    @contextmanager
    def _refusal_is_no_verdict(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            _raise_refusal(error)
            raise

    def locate_backward(self, function: Function, outputs: Sequence[Any] = ()) -> str | None:
        """``file:line in Class.backward``, from a bound ``apply`` or from the graph behind `outputs`."""
        owner = getattr(function, "__self__", None)
        if inspect.isclass(owner) and issubclass(owner, self.library.autograd.Function):
            return backward_of(owner)
        for node in _nodes(outputs):
            owner = getattr(type(node), "_forward_cls", None)
            if owner is not None:
                return backward_of(owner)
        return None

    # Modes and random numbers ----------------------------------------------------------------------------------

    def vmap(self, function: Function, inputs: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, ...]:
        """Not known to this engine."""
        raise Unsupported(f"{self.name} has no vmap")

    def keeps(self, function: Function, inputs: Sequence[Array]) -> bool:
        """False: without vmap, it does no harm."""
        return False

    def no_grad(self) -> AbstractContextManager[None]:
        """A context without recording."""
        context: AbstractContextManager[None] = self.library.no_grad()
        return context

    def seed(self, value: int) -> None:
        """Seed the engine's global random generator."""
        self.library.manual_seed(value)

    @contextmanager
    def sandbox(self, seed: int) -> Iterator[None]:
        """Gradients on and the generator seeded inside; grad mode and random state as before afterwards."""
        before = self.library.get_rng_state()
        try:
            with self.library.enable_grad():
                self.seed(seed)
                yield
        finally:
            self.library.set_rng_state(before)

    @contextmanager
    def default_dtype(self, name: str) -> Iterator[None]:
        """The dtype that new tensors have inside ("float32")."""
        before = self.library.get_default_dtype()
        self.library.set_default_dtype(getattr(self.library, name))
        try:
            yield
        finally:
            self.library.set_default_dtype(before)

    # User-defined functions ------------------------------------------------------------------------------------

    def applied(self, function: Function) -> Function:
        """A Function as a function of the arguments of its forward, whatever its class makes of `apply`."""
        base = self.library.autograd.Function
        is_class = inspect.isclass(function) and issubclass(function, base)
        return partial(base.apply.__func__, function) if is_class else function

    @contextmanager
    def unmarked(self) -> Iterator[None]:
        """Functions called inside cannot mark their outputs as not differentiable."""
        context = getattr(self.library.autograd.function, self.context_class)
        before = context.mark_non_differentiable
        context.mark_non_differentiable = lambda ctx, *tensors: None
        try:
            yield
        finally:
            context.mark_non_differentiable = before

    def keeper(self, value: object) -> Callable[[], None] | None:
        """For a module or a leaf that requires grad: what brings its buffers, modes and gradients back as they are now.

        Buffers are written in place, behind the version counter.
        """
        if isinstance(value, self.library.nn.Module):
            modes = [(part, part.training) for part in value.modules()]
            kept = [keeper_of_values(buffer) for buffer in value.buffers()]
            kept += [keeper_of_gradient(parameter) for parameter in value.parameters()]
            return lambda: bring_back(modes, kept)
        if self.is_tensor(value) and value.is_leaf:  # type: ignore[attr-defined]
            return keeper_of_gradient(value) if value.requires_grad else keeper_of_buffer(value)  # type: ignore[attr-defined]
        return None

    @contextmanager
    def casts(self) -> Iterator[Sequence[str]]:
        """Gives an empty list: this engine cannot be watched."""
        yield ()

    @contextmanager
    def underflows(self) -> Iterator[list[str]]:
        """Gives a list of the float16 results inside that are too small for all of their digits, as NumPy sees them."""
        seen: list[str] = []
        with np.errstate(under="call", call=lambda kind, _: seen.append(kind)):
            yield seen

    def one_thread(self) -> AbstractContextManager[None]:
        """Leave the threads as they are."""
        return nullcontext()

    def random_state(self) -> Any:
        """The generators as they are: the engine's, Python's and NumPy's."""
        return self._own_random_state(), random.getstate(), np.random.get_state()

    def set_random_state(self, state: Any) -> None:
        """Put the generators back to what `random_state` gave."""
        own, python, numpy = state
        self._set_own_random_state(own)
        random.setstate(python)
        np.random.set_state(numpy)

    def _own_random_state(self) -> Any:
        return self.library.get_rng_state()

    def _set_own_random_state(self, state: Any) -> None:
        self.library.set_rng_state(state)

    def default_dtype_name(self) -> str:
        """The dtype of new floating tensors ("float32")."""
        return str(self.library.get_default_dtype()).rpartition(".")[2]

    def aside(self) -> AbstractContextManager[None]:
        """A context without recording."""
        return self.no_grad()

    # Modules ---------------------------------------------------------------------------------------------------

    def module(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A module in float64: "Linear", "BatchNorm1d", "Dropout", "Sequential"."""
        return getattr(self.library.nn, name)(*args, **kwargs).to(self.library.float64)

    @contextmanager
    def mode(self, module: Any, training: bool) -> Iterator[None]:
        """Put `module` and its parts into train or eval mode; each part's own mode comes back afterwards."""
        before = [(part, part.training) for part in module.modules()]
        try:
            module.train(training)
            yield
        finally:
            for part, was in before:
                part.training = was

    def parameters(self, module: Any) -> dict[str, Any]:
        """The parameters by dotted name."""
        return dict(module.named_parameters())

    def buffers(self, module: Any) -> dict[str, Any]:
        """The buffers by dotted name."""
        return dict(module.named_buffers())

    def copied(self, module: Any) -> Any:
        """A deep copy of `module` with its floating parameters and buffers in float64."""
        return copy.deepcopy(module).to(self.library.float64)

    @contextmanager
    def replaced(self, module: Any) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Gives a function that puts tensors in the place of the named parameters and buffers, wherever they are held.

        What was put there last stays, for a backward that runs the module again; the module's own come back at the end.
        """
        holders = [held for part in module.modules() for held in (part._parameters, part._buffers)]
        before = [dict(held) for held in holders]
        names = {id(own): name for name, own in (self.parameters(module) | self.buffers(module)).items()}
        # By identity: a tied parameter has one name and several places.
        places = [(held, leaf, names[id(own)]) for held in holders for leaf, own in held.items() if id(own) in names]

        def put(state: Mapping[str, Any]) -> None:
            for held, leaf, name in places:
                if name in state:
                    held[leaf] = state[name]

        try:
            yield put
        finally:
            for held, own in zip(holders, before, strict=True):
                held.clear()
                held.update(own)


@cache
def _declarations() -> dict[str, Any]:
    """The op declarations of refengine by name: which ops are functions, and what other engines call them."""
    try:
        import refengine.catalogue as catalogue
    except ImportError:
        return {}
    return {op.name: op for op in catalogue.ops()}


def _attribute(place: Any, dotted: str) -> Any | None:
    for part in dotted.split("."):
        place = getattr(place, part, None)
        if place is None:
            return None
    return place


def _is_all_of(values: Array, base: Any) -> bool:
    """Whether a contiguous view is a reshaped look at the whole of an array."""
    return type(base) is np.ndarray and base.base is None and base.nbytes == values.nbytes


def _memory(values: Array) -> tuple[Array, tuple[int, ...], tuple[int, ...], int]:
    """Fresh one-dimensional memory that holds `values`, with shape, strides and offset in elements."""
    size = values.itemsize
    if values.size == 0 or any(s < 0 or s % size for s in values.strides):
        values = values.copy()
    strides = tuple(s // size for s in values.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(values.shape, strides, strict=True)) if values.size else 0
    offset = _offset(values) if values.size else 0
    memory = np.empty(offset + span, dtype=values.dtype)
    memory.fill(_filler(values.dtype))
    np.ndarray(values.shape, values.dtype, memory, offset * size, values.strides)[...] = values
    return memory, values.shape, strides, offset


def _offset(values: Array) -> int:
    """How many elements into its own memory `values` starts; 0 where that memory is not an array of its dtype."""
    owner = values
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    is_whole = owner.flags.c_contiguous or owner.flags.f_contiguous
    start = owner.__array_interface__["data"][0] if is_whole else np.lib.array_utils.byte_bounds(owner)[0]
    offset, rest = divmod(values.__array_interface__["data"][0] - start, values.itemsize)
    return int(offset) if owner.dtype == values.dtype and not rest and offset >= 0 else 0


def _filler(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "fc":
        return np.nan
    return True if dtype.kind == "b" else np.iinfo(dtype).max


def _raise_refusal(error: RuntimeError) -> None:
    """Raise `Unsupported` if `error` says that a rule does not exist, as a NotImplementedError always does."""
    text = str(error).lower()
    if isinstance(error, NotImplementedError) or any(words in text for words in _REFUSALS):
        raise Unsupported(said(error)) from error


def _nodes(outputs: Sequence[Any]) -> Iterator[Any]:
    """The nodes of the graph behind `outputs`, nearest first."""
    waiting = [y.grad_fn for y in outputs if getattr(y, "grad_fn", None) is not None]
    seen: set[Any] = set()
    for node in waiting:  # grows while it is walked: breadth first
        if node not in seen:
            seen.add(node)
            yield node
            waiting += [follower for follower, _ in node.next_functions if follower is not None]


def backward_of(owner: Any) -> str | None:
    """``file:line in Class.backward`` of a Function subclass; None where there is no source."""
    name = "vjp" if "vjp" in vars(owner) else "backward"
    code = getattr(inspect.unwrap(getattr(owner, name)), "__code__", None)
    if code is None:
        return None
    return f"{place_of(code)} in {owner.__name__}.{name}"
