"""What gradcheck asks of an autograd engine: the adapter protocol and its capabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from gradcheck.program import Array

Function = Callable[..., Any]


class Capability(StrEnum):
    """What an engine can do; a claim names what it needs and is skipped, with this word, elsewhere."""

    FORWARD_MODE = "forward mode"
    HIGHER_ORDER = "higher order"
    INPLACE = "in-place operations"
    STRIDES = "strided views"
    ACCUMULATION = "gradient accumulation"
    TAPE = "recorded leaves"
    MODULES = "modules"
    VMAP = "vmap"


@dataclass(frozen=True, slots=True)
class Conventions:
    """What an engine chose where mathematics leaves a choice.

    Attributes
    ----------
    complex_gradient : str
        "conjugate": reverse mode gives dL/dRe + i dL/dIm for a real L, as PyTorch does; "plain": dL/dRe - i dL/dIm, as
        JAX does. A rule of the one kind is wrong in an engine of the other. As pairs of real numbers both are the same.
    kinks : mapping
        For each op (refengine's name) whose derivative at a kink or a tie is not what refengine declares: from the
        place (a number, or "tie") to the derivative there, "split", or NaN where the engine gives none.
    """

    complex_gradient: Literal["conjugate", "plain"] = "conjugate"
    kinks: Mapping[str, Mapping[float | str, float | str]] = field(default_factory=dict)


class Linearized(Protocol):
    """A function at one point: its outputs there, and vector-Jacobian products, as often as they are asked for."""

    @property
    def outputs(self) -> tuple[Any, ...]: ...

    def pull(
        self, cotangents: Sequence[Any | None], *, create_graph: bool = False, is_last: bool = False
    ) -> tuple[Any | None, ...]:
        """J^T u: one gradient (or None, not connected) for each wanted tensor.

        Parameters
        ----------
        cotangents : sequence
            One for each output; None where that output is not used, which says more than zeros do where a rule can be
            told so, and must be None or ignored where the output is not floating.
        create_graph : bool
            The gradients can be differentiated again, by whatever differentiates the function around this call.
        is_last : bool
            Nothing is pulled after this, so what is kept for it may go.

        Raises
        ------
        Unsupported
            If the function refuses to be differentiated this way (once differentiable only, say).
        """
        ...


class Tape(Protocol):
    """The part of an engine that records (capability TAPE); elsewhere these methods refuse."""

    def requires_grad(self, tensor: Any) -> bool: ...

    def grad(
        self,
        outputs: Sequence[Any],
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        *,
        create_graph: bool = False,
        retain_graph: bool = False,
    ) -> tuple[Any | None, ...]:
        """Vector-Jacobian product on the record (capability TAPE): a gradient, or None, for each of `inputs`.

        `.grad` is left alone.

        Raises
        ------
        Unsupported
            If the function refuses to be differentiated this way (once differentiable only, say).
        """
        ...


class Engine(Tape, Protocol):
    """An adapter. It holds no state beyond its device; every method is pure towards the caller's tensors."""

    name: str
    device: str
    capabilities: frozenset[Capability]
    conventions: Conventions
    refusals: tuple[type[Exception], ...]
    """The exceptions by which the engine refuses what is not allowed (a stale save, an in-place step on a leaf)."""

    def supports(self, op: str, *, inplace: bool = False) -> bool:
        """Whether the engine has op `op` (refengine's name), or its in-place form."""
        ...

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """Call op `op` in PyTorch's spelling; `args` may nest tensors in tuples and lists."""
        ...

    def tensor(self, values: Array, *, requires_grad: bool = False) -> Any:
        """A new leaf with the values, dtype and strides of `values` (stride 0 included); memory is not shared."""
        ...

    def array(self, tensor: Any) -> Array:
        """A copy of the values as a NumPy array (never a view, no history)."""
        ...

    def is_tensor(self, value: object) -> bool:
        """Whether `value` is this engine's tensor."""
        ...

    def device_of(self, tensor: Any) -> str:
        """The device of `tensor`, as `registry.engine` takes it ("cpu", "cuda:0")."""
        ...

    def kind(self, tensor: Any) -> str:
        """NumPy's letter for the dtype: "f" floating, "c" complex, anything else what cannot be differentiated."""
        ...

    def strides(self, tensor: Any) -> tuple[int, ...]:
        """Strides in elements."""
        ...

    def cast(self, tensor: Any, dtype: str) -> Any:
        """`tensor` in the dtype of that name ("bfloat16"), as an operation that gradients flow through.

        Raises
        ------
        Unsupported
            If the engine has no such dtype.
        """
        ...

    def linearized(self, function: Function, tensors: Sequence[Any], wanted: Sequence[bool]) -> Linearized:
        """`function` at `tensors`, to be differentiated by those that are `wanted`.

        It may be called inside a function that is differentiated itself. An engine that records takes a wanted tensor
        that requires grad as the leaf it is; others are looked at through a leaf of their own.
        """
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """What a call of the user's function needs around it to keep float64 as float64; most engines need nothing."""
        ...

    def backward(self, outputs: Sequence[Any], cotangents: Sequence[Any], *, retain_graph: bool = False) -> None:
        """Accumulate into the leaves' `.grad` (capability ACCUMULATION)."""
        ...

    def accumulated(self, tensor: Any) -> Any | None:
        """The `.grad` of a leaf."""
        ...

    def jvp(
        self, function: Function, primals: Sequence[Any], tangents: Sequence[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any | None, ...]]:
        """Outputs and their tangents (None: not connected) by forward mode (capability FORWARD_MODE).

        Raises
        ------
        Unsupported
            If the function has no forward-mode rule.
        """
        ...

    def vmap(self, function: Function, inputs: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, ...]:
        """The outputs for a batch, their first axis the examples' (capability VMAP).

        `axes` says along which axis of each input the examples lie; None: the input is the same for all of them.
        """
        ...

    def no_grad(self) -> AbstractContextManager[None]: ...

    def version(self, tensor: Any) -> int:
        """The in-place version counter (capability INPLACE)."""
        ...

    def keeps(self, function: Function, inputs: Sequence[Array]) -> bool:
        """Whether a call of `function` keeps a tensor of its own for later: one made in ``vmap`` would outlive that."""
        ...

    def locate_backward(self, function: Function, outputs: Sequence[Any] = ()) -> str | None:
        """``file:line in Class.backward`` of a user-defined function, where it can be known.

        Found from a bound ``apply``, else from the graph behind `outputs` (a wrapper, a lambda, a module).
        """
        ...

    def seed(self, value: int) -> None:
        """Seed the engine's global random generator."""
        ...

    def sandbox(self, seed: int) -> AbstractContextManager[None]:
        """Gradients on and the random generators seeded inside; grad mode and random state as before afterwards."""
        ...

    def default_dtype(self, name: str) -> AbstractContextManager[None]:
        """The dtype that new tensors have inside ("float32")."""
        ...

    def applied(self, function: Function) -> Function:
        """A user-defined Function class as a function of the arguments of its forward; any other callable as it is."""
        ...

    def unmarked(self) -> AbstractContextManager[None]:
        """User-defined Functions called inside cannot mark their outputs as not differentiable."""
        ...

    def keeper(self, value: object) -> Callable[[], None] | None:
        """For a module or a leaf that requires grad: what brings its buffers, modes and gradients back as they are now.

        None for anything else. Buffers are written in place, behind the version counter.
        """
        ...

    def random_state(self) -> Any:
        """The random generators as they are: the engine's on this device, Python's and NumPy's."""
        ...

    def set_random_state(self, state: Any) -> None:
        """Put the generators back to what `random_state` gave."""
        ...

    def default_dtype_name(self) -> str:
        """The dtype of new floating tensors ("float32")."""
        ...

    def dtype_name(self, tensor: Any) -> str:
        """The dtype of `tensor` without the library's name ("bfloat16")."""
        ...

    def is_transformed(self, value: object) -> bool:
        """Whether `value` is a tensor inside a function transform (vmap, say), which has no values of its own."""
        ...

    def why_not_copied(self, tensor: Any) -> str:
        """Why `snapshot` cannot copy `tensor` ("a sparse tensor"); "" where it can."""
        ...

    def extent(self, tensors: Sequence[Any]) -> int:
        """How many bytes `snapshot` would copy."""
        ...

    def snapshot(self, tensors: Sequence[Any]) -> list[Any]:
        """Copies as leaves: same dtype, device, shape, strides and requires_grad; what shared memory shares it there.

        Only the span in use is copied, not all of a storage, so that offsets count from the first entry in use.
        """
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Nothing done inside is recorded, or seen by a mode that the caller has entered."""
        ...

    def module(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A module in float64 (capability MODULES): "Linear", "BatchNorm1d", "Dropout", "Sequential"."""
        ...

    def mode(self, module: Any, training: bool) -> AbstractContextManager[None]:
        """Put `module` and its parts into train or eval mode; each part's own mode comes back afterwards."""
        ...

    def one_thread(self) -> AbstractContextManager[None]:
        """Work on small tensors inside, for which more than one thread costs more than it saves."""
        ...

    def casts(self) -> AbstractContextManager[Sequence[str]]:
        """Gives a list of the casts to a lower precision inside, in words; it stays empty where they cannot be seen."""
        ...

    def underflows(self) -> AbstractContextManager[Sequence[str]]:
        """Gives a list, in words, of the float16 results inside that are too small for all of their digits."""
        ...

    def copied(self, module: Any) -> Any:
        """A deep copy of `module` with its floating parameters and buffers in float64."""
        ...

    def replaced(self, module: Any) -> AbstractContextManager[Callable[[Mapping[str, Any]], None]]:
        """Gives a function that puts tensors in the place of the named parameters and buffers, wherever they are held.

        What was put there last stays, for a backward that runs the module again; the module's own come back at the end.
        """
        ...

    def parameters(self, module: Any) -> dict[str, Any]: ...

    def buffers(self, module: Any) -> dict[str, Any]: ...
