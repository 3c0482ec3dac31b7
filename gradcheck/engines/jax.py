"""JAX as an engine. The only file of the package that imports jax, and only when the engine is made."""

from __future__ import annotations

import functools
import inspect
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from gradcheck.engines.base import Capability, Conventions, Function
from gradcheck.engines.jaxops import OPS
from gradcheck.engines.place import place_of
from gradcheck.failures import Unsupported, UsageError
from gradcheck.program import Array

# What JAX says where PyTorch takes axis 0 of a scalar for the scalar itself.
_SCALAR_AXIS = "out of bounds for array of dimension 0"
# How deep a rule may be hidden behind wrappers and functions that a function names.
_DEPTH = 4


# Found by asking JAX 0.10. Its clip is a minimum of a maximum, each of which splits a tie.
_HALVES: Mapping[float | str, float | str] = {-1.0: 0.5, 1.0: 0.5, "tie": 0.5}
CONVENTIONS = Conventions(
    complex_gradient="plain",
    kinks={
        "abs": {0.0: 1.0},
        "leaky_relu": {0.0: 1.0},
        "hardtanh": {-1.0: 1.0, 1.0: 1.0},
        "clamp": _HALVES,
        "clamp_min": _HALVES,
        "clamp_max": _HALVES,
        "norm": {0.0: math.nan},
        "std": {"tie": math.nan},
    },
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What JAX gets wrong, known and left out of the property suite; a user's function never is.

    Attributes
    ----------
    op, reason : str
    applies : callable
        Whether a call has it: takes ``jax`` and the positional arguments.
    """

    op: str
    reason: str
    applies: Callable[..., bool]


def _is_zero_to_the_zero(jax: Any, base: Any, exponent: Any) -> bool:
    jnp = jax.numpy
    return bool(jnp.any((jnp.asarray(base) == 0) & (jnp.asarray(exponent) == 0)))


FAULTS = (Fault("pow", "the gradient of pow is NaN where base and exponent are 0", _is_zero_to_the_zero),)
"""What JAX 0.10 gets wrong, found by the claims; docs/engines.md has a script for each."""


class JaxEngine:
    """The adapter of JAX: no tape, no strides, nothing in place, no global random state.

    Everything runs with 64-bit types enabled, and for the time of the call only: the user's setting stays.

    Parameters
    ----------
    device : str
        "cpu", "gpu", "gpu:1", "tpu:0".

    Notes
    -----
    The gradient of a complex input is the conjugate of PyTorch's: ``jax.vjp`` is linear without conjugation. Nobody
    who looks at complex inputs and outputs as pairs of real ones, as the checks do, sees the difference.
    """

    name = "jax"
    capabilities = frozenset({Capability.FORWARD_MODE, Capability.HIGHER_ORDER, Capability.VMAP})
    conventions = CONVENTIONS
    refusals: tuple[type[Exception], ...] = (TypeError, ValueError, NotImplementedError, RuntimeError)

    def __init__(self, device: str = "cpu") -> None:
        import jax

        self.library = jax
        self.device = device

    def __repr__(self) -> str:
        return f"<engine {self.name} on {self.device}>"

    # Ops -------------------------------------------------------------------------------------------------------

    def supports(self, op: str, *, inplace: bool = False) -> bool:
        """Whether the table of ops has `op`; nothing has an in-place form."""
        return op in OPS and not inplace

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """Call op `op` with PyTorch's arguments."""
        if not self.supports(op, inplace=inplace):
            raise UsageError(f"{self.name}: has no op {op + '_' if inplace else op!r}")
        try:
            with self.evaluating():
                self._refuse_fault(op, args)
                return OPS[op](self.library, *args, **kwargs)
        except (ValueError, IndexError) as error:
            if _SCALAR_AXIS in str(error) or (isinstance(error, IndexError) and getattr(args[0], "ndim", 1) == 0):
                raise Unsupported("jax has no axis of a scalar") from error
            raise

    def _refuse_fault(self, op: str, args: tuple[Any, ...]) -> None:
        for fault in FAULTS:
            if fault.op == op and fault.applies(self.library, *args):
                raise Unsupported(fault.reason)

    # Tensors ---------------------------------------------------------------------------------------------------

    def tensor(self, values: Array, *, requires_grad: bool = False) -> Any:
        """A new array with the values and dtype of `values`; it has no layout, and whether it is a leaf is nothing."""
        with self.evaluating():
            made = self.library.numpy.array(values)
            return made if made.device == self._device else self.library.device_put(made, self._device)

    @functools.cached_property
    def _device(self) -> Any:
        """Looked up when it is needed: it starts the devices, which being asked for one's name should not."""
        platform, _, number = self.device.partition(":")
        return self.library.devices(platform)[int(number or 0)]

    def array(self, tensor: Any) -> Array:
        """A copy of the values as a NumPy array; bfloat16 and narrower, which NumPy lacks, come as float32."""
        values = np.array(tensor)
        return values.astype(np.float32) if values.dtype.kind == "V" else values

    def is_tensor(self, value: object) -> bool:
        """Whether `value` is a JAX array or a tracer; random keys are none."""
        jax = self.library
        return isinstance(value, jax.Array) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)

    def device_of(self, tensor: Any) -> str:
        """The device of `tensor` ("cpu", "gpu:1"); a tracer is taken to be where the engine is."""
        if self.is_transformed(tensor):
            return self.device
        device = min(tensor.devices(), key=lambda held: held.id)
        return str(device.platform) if device.id == 0 else f"{device.platform}:{device.id}"

    def kind(self, tensor: Any) -> str:
        """NumPy's letter for the dtype: "f" floating, "c" complex, "i" for all else."""
        jnp = self.library.numpy
        if jnp.issubdtype(tensor.dtype, jnp.floating):
            return "f"
        return "c" if jnp.issubdtype(tensor.dtype, jnp.complexfloating) else "i"

    def requires_grad(self, tensor: Any) -> bool:
        """No array asks for a gradient by itself."""
        return False

    def strides(self, tensor: Any) -> tuple[int, ...]:
        """Strides in elements, as if contiguous: arrays have no layout."""
        return tuple(int(np.prod(tensor.shape[axis + 1 :])) for axis in range(tensor.ndim))

    def cast(self, tensor: Any, dtype: str) -> Any:
        """`tensor` in the dtype of that name, as an operation that gradients flow through."""
        with self.evaluating():
            return tensor.astype(dtype)

    def version(self, tensor: Any) -> int:
        """0: arrays do not change."""
        return 0

    # Derivatives -----------------------------------------------------------------------------------------------

    def linearized(self, function: Function, tensors: Sequence[Any], wanted: Sequence[bool]) -> Pulled:
        """`function` at `tensors` by ``jax.vjp``, with those that are not wanted closed over."""
        places = [k for k, is_wanted in enumerate(wanted) if is_wanted]
        return pulled(self, _of_some(function, tensors, places), tuple(tensors[k] for k in places))

    def grad(
        self,
        outputs: Sequence[Any],
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        *,
        create_graph: bool = False,
        retain_graph: bool = False,
    ) -> tuple[Any | None, ...]:
        """Not without a tape."""
        _refuse("record of what was computed")

    def backward(self, outputs: Sequence[Any], cotangents: Sequence[Any], *, retain_graph: bool = False) -> None:
        """Not without a tape."""
        _refuse("gradient accumulation")

    def accumulated(self, tensor: Any) -> Any | None:
        """None: gradients are returned, nowhere kept."""
        return None

    def jvp(
        self, function: Function, primals: Sequence[Any], tangents: Sequence[Any]
    ) -> tuple[tuple[Any, ...], tuple[Any | None, ...]]:
        """Outputs and their tangents by ``jax.jvp``; None for outputs that are not floating."""
        jax = self.library
        with self.evaluating():
            try:
                outputs, pushed = jax.jvp(_of_some(function, primals, range(len(primals))), primals, tangents)
            except TypeError as error:
                if "custom_vjp" in str(error):
                    raise Unsupported("a custom_vjp function has no rule for forward mode") from error
                raise
        return outputs, tuple(t if self.kind(y) in "fc" else None for y, t in zip(outputs, pushed, strict=True))

    def vmap(self, function: Function, inputs: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, ...]:
        """The outputs for a batch."""
        with self.evaluating():
            result = self.library.vmap(function, in_axes=tuple(axes))(*inputs)
        return _as_tuple(result)

    def keeps(self, function: Function, inputs: Sequence[Array]) -> bool:
        """False: JAX itself refuses what is kept of a call, in every transformation."""
        return False

    def locate_backward(self, function: Function, outputs: Sequence[Any] = ()) -> str | None:
        """``file:line in name`` of the rule of a custom_vjp or custom_jvp that `function` is, wraps or names."""
        jax = self.library
        for found in _reachable(function, _DEPTH):
            rule = found.bwd if isinstance(found, jax.custom_vjp) else None
            rule = found.jvp if isinstance(found, jax.custom_jvp) else rule
            code = getattr(inspect.unwrap(rule), "__code__", None) if rule is not None else None
            if code is not None:
                return f"{place_of(code)} in {code.co_name}"
        return None

    # Modes and random numbers ----------------------------------------------------------------------------------

    def evaluating(self) -> AbstractContextManager[None]:
        """64-bit types inside; the user's setting afterwards."""
        return _wide(self.library)

    def no_grad(self) -> AbstractContextManager[None]:
        """Nothing is recorded anyway; 64-bit types inside."""
        return self.evaluating()

    def aside(self) -> AbstractContextManager[None]:
        """As `no_grad`."""
        return self.evaluating()

    def seed(self, value: int) -> None:
        """Do nothing: random keys are arguments."""

    def sandbox(self, seed: int) -> AbstractContextManager[None]:
        """64-bit types inside; there is no random state to keep."""
        return self.evaluating()

    def random_state(self) -> Any:
        """Python's and NumPy's generators as they are."""
        return random.getstate(), np.random.get_state()

    def set_random_state(self, state: Any) -> None:
        """Put the generators back to what `random_state` gave."""
        python, numpy = state
        random.setstate(python)
        np.random.set_state(numpy)

    @contextmanager
    def default_dtype(self, name: str) -> Iterator[None]:
        """What new arrays have inside: float64 where 64-bit types are enabled."""
        with _wide(self.library, name == "float64"):
            yield

    def default_dtype_name(self) -> str:
        """The dtype of new floating arrays."""
        return "float64" if self.library.config.jax_enable_x64 else "float32"

    def one_thread(self) -> AbstractContextManager[None]:
        """Leave the threads as they are: XLA decides on them when it starts."""
        return nullcontext()

    @contextmanager
    def casts(self) -> Iterator[Sequence[str]]:
        """Gives an empty list: this engine is not watched."""
        yield ()

    @contextmanager
    def underflows(self) -> Iterator[Sequence[str]]:
        """Gives a list that is never empty: what is compiled cannot be watched."""
        yield ("perhaps",)

    # What is noticed in users' tests ---------------------------------------------------------------------------

    def applied(self, function: Function) -> Function:
        """As it is: there are no Function classes."""
        return function

    def unmarked(self) -> AbstractContextManager[None]:
        """Nothing: outputs are never marked."""
        return nullcontext()

    def keeper(self, value: object) -> Callable[[], None] | None:
        """None: nothing changes."""
        return None

    def dtype_name(self, tensor: Any) -> str:
        """The dtype of `tensor` ("bfloat16")."""
        return str(tensor.dtype)

    def is_transformed(self, value: object) -> bool:
        """Whether `value` is a tracer."""
        return isinstance(value, self.library.core.Tracer)

    def why_not_copied(self, tensor: Any) -> str:
        """Why `snapshot` cannot copy `tensor`; "" where it can."""
        return "a tracer" if self.is_transformed(tensor) else ""

    def extent(self, tensors: Sequence[Any]) -> int:
        """0: nothing need be copied of what cannot change."""
        return 0

    def snapshot(self, tensors: Sequence[Any]) -> list[Any]:
        """The arrays themselves, which cannot change."""
        return list(tensors)

    # Modules ---------------------------------------------------------------------------------------------------

    def module(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """There are no modules."""
        _refuse("modules")

    def mode(self, module: Any, training: bool) -> AbstractContextManager[None]:
        """There are no modules."""
        _refuse("modules")

    def copied(self, module: Any) -> Any:
        """There are no modules."""
        _refuse("modules")

    def replaced(self, module: Any) -> AbstractContextManager[Callable[[Mapping[str, Any]], None]]:
        """There are no modules."""
        _refuse("modules")

    def parameters(self, module: Any) -> dict[str, Any]:
        """There are no modules."""
        _refuse("modules")

    def buffers(self, module: Any) -> dict[str, Any]:
        """There are no modules."""
        _refuse("modules")


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """What ``jax.vjp`` gave for `function` at `primals`; `vjp` is None where there are none."""

    engine: JaxEngine
    function: Callable[..., tuple[Any, ...]]
    primals: tuple[Any, ...]
    outputs: tuple[Any, ...]
    vjp: Callable[..., Any] | None

    def pull(
        self, cotangents: Sequence[Any | None], *, create_graph: bool = False, is_last: bool = False
    ) -> tuple[Any | None, ...]:
        """J^T u; an output without a cotangent is left out of the function, as by a user who does not use it."""
        engine, jax = self.engine, self.engine.library
        is_used = [u is not None or engine.kind(y) == "i" for y, u in zip(self.outputs, cotangents, strict=True)]
        if self.vjp is None:
            return ()
        if not all(is_used):
            return self._without_unused(is_used).pull([u for u, used in zip(cotangents, is_used, strict=True) if used])
        with engine.evaluating():
            given = tuple(
                np.zeros(y.shape, jax.dtypes.float0) if engine.kind(y) == "i" else u
                for y, u in zip(self.outputs, cotangents, strict=True)
            )
            found = self.vjp(given)
        return tuple(None if g.dtype == jax.dtypes.float0 else g for g in found)

    def _without_unused(self, is_used: Sequence[bool]) -> Pulled:
        """A rule is told of an unused output by a symbolic zero, which it gets in this way alone."""

        def used(*moving: Any) -> tuple[Any, ...]:
            return tuple(y for y, is_one in zip(self.function(*moving), is_used, strict=True) if is_one)

        return pulled(self.engine, used, self.primals)


def pulled(engine: JaxEngine, function: Callable[..., tuple[Any, ...]], primals: tuple[Any, ...]) -> Pulled:
    """`function` at `primals`, by ``jax.vjp`` where there are any."""
    with engine.evaluating():
        if not primals:
            return Pulled(engine, function, primals, function(), None)
        outputs, vjp = engine.library.vjp(function, *primals)
    return Pulled(engine, function, primals, outputs, vjp)


def _wide(jax: Any, is_on: bool = True) -> AbstractContextManager[None]:
    """64-bit types enabled (or not) inside: a context of JAX's own since 0.8, an experimental one before."""
    if not hasattr(jax, "enable_x64"):
        from jax import experimental

        return _typed(experimental.enable_x64(is_on))
    return _typed(jax.enable_x64(is_on))


def _typed(context: Any) -> AbstractContextManager[None]:
    found: AbstractContextManager[None] = context
    return found


def _of_some(function: Function, tensors: Sequence[Any], places: Sequence[int]) -> Callable[..., tuple[Any, ...]]:
    """The function of some of its arguments, the others as they are; its results always a tuple."""

    def of_some(*moving: Any) -> tuple[Any, ...]:
        arguments = list(tensors)
        for k, x in zip(places, moving, strict=True):
            arguments[k] = x
        return _as_tuple(function(*arguments))

    return of_some


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _reachable(function: Any, depth: int) -> Iterator[Any]:
    """A function, what it wraps, and what it names: nearest first."""
    yield function
    if depth == 0:
        return
    within: list[Any] = [getattr(function, "__wrapped__", None)]
    if isinstance(function, functools.partial):
        within.append(function.func)
    if inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        within += [*found.nonlocals.values(), *found.globals.values()]
    for other in within:
        if callable(other) and not inspect.isclass(other):
            yield from _reachable(other, depth - 1)


def _refuse(what: str) -> NoReturn:
    raise Unsupported(f"jax has no {what}")
