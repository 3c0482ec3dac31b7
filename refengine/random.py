"""Random numbers: seedable generators, random tensors and in-place fills.

A generator's stream is NumPy's, so the same seed gives the same numbers on every platform, and other numbers than
PyTorch's. Values are drawn on the host and moved to the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from refengine import devices, dtypes, layout
from refengine.errors import ArgumentError, RangeError
from refengine.tensor import Tensor, backend_at

__all__ = [
    "Generator",
    "default_generator",
    "manual_seed",
    "seed",
    "initial_seed",
    "get_rng_state",
    "set_rng_state",
    "rand",
    "randn",
    "randint",
    "randperm",
    "rand_like",
    "randn_like",
    "bernoulli",
]

DType = dtypes.dtype | type | None
Device = devices.device | str | None


class Generator:
    """A stream of random numbers with a state that can be saved and restored.

    Examples
    --------
    >>> import refengine as re
    >>> generator = re.Generator().manual_seed(7)
    >>> state = generator.get_state()
    >>> first = re.rand(3, generator=generator)
    >>> generator.set_state(state)
    >>> bool((first == re.rand(3, generator=generator)).all())
    True
    """

    def __init__(self, device: Device = None) -> None:
        self.device: Final = devices.of(device)
        self.manual_seed(DEFAULT_SEED)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to `seed` (negative ones count modulo 2**64); returns the generator."""
        self._seed = int(seed)
        self.numpy = np.random.Generator(np.random.PCG64(self._seed % 2**64))
        return self

    def seed(self) -> int:
        """Start a stream from a seed of the operating system's; returns the seed."""
        fresh = int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) >> 1
        self.manual_seed(fresh)
        return fresh

    def initial_seed(self) -> int:
        """The seed of the current stream."""
        return self._seed

    def get_state(self) -> Tensor:
        """The seed and the place in its stream, as a uint8 tensor."""
        return Tensor(backend_at(None).array(_packed(self._seed, self.numpy.bit_generator.state)))

    def set_state(self, new_state: Tensor) -> None:
        """Go back to a state that `get_state` gave.

        Raises
        ------
        ArgumentError
            If it is no such state.
        """
        if new_state.dtype is not dtypes.uint8 or new_state.shape != (WORDS * 8,):
            got = f"{new_state.dtype} of shape {tuple(new_state.shape)}"
            raise ArgumentError(f"set_state: expected a uint8 tensor from get_state(), got {got}")
        seed, state = _unpacked(new_state.numpy())
        self.manual_seed(seed)
        self.numpy.bit_generator.state = state

    def __repr__(self) -> str:
        return f"<Generator on {self.device}, seed {self._seed}>"


DEFAULT_SEED: Final = 67280421310721
"""The seed of a new generator: PyTorch's default, the largest prime factor of a Fermat number."""
WORDS: Final = 8
MASK: Final = 2**64 - 1


def _packed(seed: int, state: Any) -> np.ndarray[Any, Any]:
    """PCG64's state as bytes: seed, its sign, the 128-bit state and increment, the spare half word."""
    inner = state["state"]
    words = [abs(seed) & MASK, int(seed < 0)]
    words += [inner["state"] & MASK, inner["state"] >> 64, inner["inc"] & MASK, inner["inc"] >> 64]
    words += [state["has_uint32"], state["uinteger"]]
    return np.array(words, dtype="<u8").view(np.uint8)


def _unpacked(host: np.ndarray[Any, Any]) -> tuple[int, dict[str, Any]]:
    words = [int(word) for word in np.ascontiguousarray(host).view("<u8")]
    inner = {"state": words[2] | words[3] << 64, "inc": words[4] | words[5] << 64}
    state = {"bit_generator": "PCG64", "state": inner, "has_uint32": words[6], "uinteger": words[7]}
    return -words[0] if words[1] else words[0], state


default_generator: Final = Generator()
"""What every random function draws from unless it is given a generator."""


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator's stream."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Restore the default generator's state."""
    default_generator.set_state(new_state)


# --- new tensors --------------------------------------------------------------------------------------------------


def _source(generator: Generator | None) -> np.random.Generator:
    return (generator or default_generator).numpy


def _placed(values: Any, dtype: dtypes.dtype, device: Device, requires_grad: bool) -> Tensor:
    return Tensor(backend_at(device).array(values, dtype.numpy), requires_grad=requires_grad)


def _uniform(source: np.random.Generator, shape: layout.Shape, dtype: dtypes.dtype) -> Any:
    """Values in [0, 1) that stay below 1 in the dtype; complex parts independently."""
    if dtype.is_complex:
        real = dtypes.real_of(dtype)
        return _uniform(source, shape, real) + 1j * _uniform(source, shape, real)
    if not dtype.is_floating_point:
        raise ArgumentError(f"rand: expected a floating or complex dtype, got {dtype}")
    if dtype is dtypes.float64:
        return source.random(shape)
    bits = 24 if dtype is dtypes.float32 else 11
    return source.integers(0, 2**bits, shape).astype(dtype.numpy) / dtype.numpy.type(2**bits)


def _normal(source: np.random.Generator, shape: layout.Shape, dtype: dtypes.dtype) -> Any:
    """Standard normal values; complex ones have variance 1 in all."""
    if dtype.is_complex:
        return (source.standard_normal(shape) + 1j * source.standard_normal(shape)) / np.sqrt(2)
    if not dtype.is_floating_point:
        raise ArgumentError(f"randn: expected a floating or complex dtype, got {dtype}")
    return source.standard_normal(shape)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return values drawn evenly from [0, 1)."""
    wanted = dtypes.default() if dtype is None else dtypes.of(dtype)
    return _placed(_uniform(_source(generator), layout.sizes(size), wanted), wanted, device, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return values from the standard normal distribution."""
    wanted = dtypes.default() if dtype is None else dtypes.of(dtype)
    return _placed(_normal(_source(generator), layout.sizes(size), wanted), wanted, device, requires_grad)


def randint(
    low: int,
    high: Any,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return integers in [low, high), as int64 unless told otherwise.

    ``randint(high, size)`` starts at 0, ``randint(low, high, size)`` at `low`.

    Raises
    ------
    RangeError
        If the range is empty.
    """
    if size is None:
        low, high, size = 0, low, high
    if low >= high:
        raise RangeError(f"randint: expected low < high, got low={low}, high={high}")
    wanted = dtypes.int64 if dtype is None else dtypes.of(dtype)
    return _placed(_source(generator).integers(low, high, layout.sizes((size,))), wanted, device, requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return 0, 1, …, n - 1 in random order, as int64 unless told otherwise."""
    wanted = dtypes.int64 if dtype is None else dtypes.of(dtype)
    return _placed(_source(generator).permutation(n), wanted, device, requires_grad)


def rand_like(input: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return values drawn evenly from [0, 1) in the shape, dtype and device of `input`."""
    return rand(
        tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


def randn_like(input: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Return standard normal values in the shape, dtype and device of `input`."""
    return randn(
        tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return 1 with the probabilities that `input` gives, else 0; no gradient flows through.

    Raises
    ------
    RangeError
        If a probability lies outside [0, 1].
    """
    p = input.backend.to_host(input.array)
    if not ((p >= 0) & (p <= 1)).all():
        raise RangeError("bernoulli: expected probabilities between 0 and 1")
    return _placed(_source(generator).random(p.shape) < p, input.dtype, input.device, False)


# --- in-place fills -----------------------------------------------------------------------------------------------


def _fill(target: Tensor, values: Any) -> Tensor:
    """Write host values into a tensor; a leaf that requires grad refuses, as for any in-place operation."""
    return target.copy_(Tensor(target.backend.array(values)))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with values from a normal distribution; returns the tensor."""
    if std < 0:
        raise RangeError(f"normal_: expected std >= 0, got std={std}")
    return _fill(tensor, mean + std * _normal(_source(generator), tuple(tensor.shape), tensor.dtype))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with values drawn evenly from [a, b); returns the tensor."""
    if a > b:
        raise RangeError(f"uniform_: expected from <= to, got from={a}, to={b}")
    return _fill(tensor, a + (b - a) * _uniform(_source(generator), tuple(tensor.shape), tensor.dtype))


def bernoulli_(tensor: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability p, else 0; returns the tensor."""
    if not 0 <= p <= 1:
        raise RangeError(f"bernoulli_: expected p between 0 and 1, got p={p}")
    return _fill(tensor, _source(generator).random(tuple(tensor.shape)) < p)
