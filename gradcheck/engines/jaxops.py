"""The ops of drawn programs in JAX's spelling: a line for each, called with ``jax`` and with PyTorch's arguments.

A line says what JAX's own function is; what JAX has no function for is left out, not composed, since only JAX's own
derivative rules are worth checking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradcheck.failures import Unsupported

Op = Callable[..., Any]


def _own(path: str) -> Op:
    """JAX's function at a dotted path, of tensors alone."""
    names = path.split(".")

    def op(jax: Any, *args: Any) -> Any:
        found = jax
        for name in names:
            found = getattr(found, name)
        return found(*args)

    return op


def _all(namespace: str, names: str, **renamed: str) -> dict[str, Op]:
    """Functions of one namespace, under their own name or under another."""
    return {name: _own(f"{namespace}.{name}") for name in names.split()} | {
        name: _own(f"{namespace}.{spelled}") for name, spelled in renamed.items()
    }


def _axes(dim: Any) -> Any:
    """No axis at all means every one in PyTorch."""
    return None if dim == () or dim == [] else tuple(dim) if isinstance(dim, list) else dim


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))``."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else tuple(sizes)


def _reduction(name: str) -> Op:
    def op(jax: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return getattr(jax.numpy, name)(x, axis=_axes(dim), keepdims=keepdim)

    return op


def _deviation(name: str) -> Op:
    def op(
        jax: Any, x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        if isinstance(dim, bool):  # var(unbiased)
            dim, unbiased = None, dim
        ddof = (1 if unbiased in (None, True) else 0) if correction is None else correction
        return getattr(jax.numpy, name)(x, axis=_axes(dim), ddof=ddof, keepdims=keepdim)

    return op


def _extreme(name: str) -> Op:
    """Without an axis the extreme of all; with one, values and places (the first of equals)."""

    def op(jax: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return getattr(jax.numpy, name)(x)
        if getattr(dim, "shape", None) is not None:
            return getattr(jax.numpy, f"{name}imum")(x, dim)
        found = getattr(jax.numpy, f"arg{name}")(x, axis=dim, keepdims=True)
        values = jax.numpy.take_along_axis(x, found, axis=dim)
        return (values, found) if keepdim else (values.squeeze(dim), found.squeeze(dim))

    return op


def _clamp(jax: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    return jax.numpy.clip(x, min, max)


def _expand(jax: Any, x: Any, *size: Any) -> Any:
    sizes = _sizes(size)
    own = (1,) * (len(sizes) - x.ndim) + x.shape
    return jax.numpy.broadcast_to(x, tuple(n if s == -1 else s for s, n in zip(sizes, own, strict=True)))


def _squeeze(jax: Any, x: Any, dim: Any = None) -> Any:
    axes = range(x.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    return jax.numpy.squeeze(x, tuple({axis % x.ndim for axis in axes if x.shape[axis] == 1})) if x.ndim else x


def _flatten(jax: Any, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.ndim:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    size = 1
    for n in x.shape[start : end + 1]:
        size *= n
    return x.reshape((*x.shape[:start], size, *x.shape[end + 1 :]))


def _roll(jax: Any, x: Any, shifts: Any, dims: Any = None) -> Any:
    return jax.numpy.roll(x, shifts, tuple(dims) if isinstance(dims, list) else dims)


def _at(dim: int, ndim: int, index: Any) -> tuple[Any, ...]:
    """An index for one axis."""
    return (slice(None),) * (dim % max(ndim, 1)) + (index,)


def _masked_select(jax: Any, x: Any, mask: Any) -> Any:
    x, mask = jax.numpy.broadcast_arrays(x, mask)
    return x.reshape(-1)[mask.reshape(-1)]


def _narrow(jax: Any, x: Any, dim: int, start: int, length: int) -> Any:
    first = start + x.shape[dim] if start < 0 else start
    return jax.lax.slice_in_dim(x, first, first + length, axis=dim)


def _norm(jax: Any, x: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    axes = _axes(dim)
    axes = tuple(range(x.ndim)) if axes is None else axes if isinstance(axes, tuple) else (axes,)
    if len(axes) != 1:
        raise Unsupported("jax has no norm of a vector over several axes")
    return jax.numpy.linalg.norm(x, ord=2 if p == "fro" else p, axis=axes[0], keepdims=keepdim)


def _softplus(jax: Any, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    if beta != 1.0:
        raise Unsupported("jax has no softplus with another beta")
    return jax.nn.softplus(x)


def _hardtanh(jax: Any, x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    if (min_val, max_val) != (-1.0, 1.0):
        raise Unsupported("jax has no hardtanh with other ends")
    return jax.nn.hard_tanh(x)


def _index_put(jax: Any, x: Any, key: Any, values: Any, accumulate: bool = False) -> Any:
    place = x.at[tuple(key)]
    return place.add(values) if accumulate else place.set(values)


def _layer_norm(jax: Any, x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    found = jax.nn.standardize(x, axis=axes, epsilon=eps)
    found = found if weight is None else found * weight
    return found if bias is None else found + bias


def _masked(jax: Any, x: Any, mask: Any, value: Any) -> Any:
    return jax.numpy.where(mask, value, x)


OPS: Mapping[str, Op] = {
    **_all("numpy", "abs sign exp expm1 log log1p log2 log10 sqrt square reciprocal sin cos tan sinh cosh tanh"),
    **_all("numpy", "floor ceil round trunc maximum minimum hypot logaddexp real imag conj angle outer trace"),
    **_all("numpy", "isnan isinf isfinite logical_not logical_and logical_or logical_xor"),
    **_all("numpy", "bitwise_and bitwise_or bitwise_xor bitwise_not where matmul"),
    **_all(
        "numpy", "", neg="negative", t="transpose", mul="multiply", div="divide", atan2="arctan2", remainder="remainder"
    ),
    **_all("numpy", "", asin="arcsin", acos="arccos", atan="arctan", asinh="arcsinh", acosh="arccosh", atanh="arctanh"),
    **_all("numpy", "", fmod="fmod", floor_divide="floor_divide", pow="power", mm="matmul", bmm="matmul", mv="matmul"),
    **_all("numpy", "", dot="dot", eq="equal", ne="not_equal", lt="less", le="less_equal", gt="greater"),
    **_all("numpy", "", ge="greater_equal"),
    **_all("lax", "rsqrt", erf="erf", erfc="erfc", lgamma="lgamma", digamma="digamma", complex="complex"),
    **_all("nn", "relu relu6 selu sigmoid silu", softsign="soft_sign", logsigmoid="log_sigmoid"),
    **_all("scipy.special", "xlogy"),
    **{name: _reduction(name) for name in ("sum", "nansum", "mean", "prod", "all", "any", "amax", "amin")},
    **{name: _reduction(name) for name in ("argmax", "argmin")},
    **{name: _deviation(name) for name in ("var", "std")},
    **{name: _extreme(name) for name in ("max", "min")},
    "add": lambda jax, x, y, alpha=1: jax.numpy.add(x, y if alpha == 1 else alpha * y),
    "sub": lambda jax, x, y, alpha=1: jax.numpy.subtract(x, y if alpha == 1 else alpha * y),
    "leaky_relu": lambda jax, x, negative_slope=0.01: jax.nn.leaky_relu(x, negative_slope),
    "elu": lambda jax, x, alpha=1.0: jax.nn.elu(x, alpha),
    "gelu": lambda jax, x, approximate="none": jax.nn.gelu(x, approximate=approximate == "tanh"),
    "softmax": lambda jax, x, dim: jax.nn.softmax(x, dim),
    "log_softmax": lambda jax, x, dim: jax.nn.log_softmax(x, dim),
    "softmin": lambda jax, x, dim: jax.nn.softmax(-x, dim),
    "glu": lambda jax, x, dim=-1: jax.nn.glu(x, dim),
    "logsumexp": lambda jax, x, dim, keepdim=False: jax.nn.logsumexp(x, axis=_axes(dim), keepdims=keepdim),
    "cumsum": lambda jax, x, dim: jax.numpy.cumsum(x, dim),
    "cumprod": lambda jax, x, dim: jax.numpy.cumprod(x, dim),
    "count_nonzero": lambda jax, x, dim=None: jax.numpy.count_nonzero(x, _axes(dim)),
    "clamp": _clamp,
    "clamp_min": lambda jax, x, min: jax.numpy.clip(x, min=min),
    "clamp_max": lambda jax, x, max: jax.numpy.clip(x, max=max),
    "view": lambda jax, x, *size: x.reshape(_sizes(size)),
    "reshape": lambda jax, x, *shape: x.reshape(_sizes(shape)),
    "view_as": lambda jax, x, other: x.reshape(other.shape),
    "reshape_as": lambda jax, x, other: x.reshape(other.shape),
    "expand": _expand,
    "expand_as": lambda jax, x, other: jax.numpy.broadcast_to(x, other.shape),
    "permute": lambda jax, x, *dims: jax.numpy.permute_dims(x, tuple(d % x.ndim for d in _sizes(dims))),
    "transpose": lambda jax, x, dim0, dim1: jax.numpy.swapaxes(x, dim0, dim1) if x.ndim else x,
    "adjoint": lambda jax, x: jax.numpy.conj(jax.numpy.swapaxes(x, -1, -2)),
    "movedim": lambda jax, x, source, destination: jax.numpy.moveaxis(x, source, destination),
    "clone": lambda jax, x: jax.numpy.copy(x),
    "contiguous": lambda jax, x: jax.numpy.copy(x),
    "unsqueeze": lambda jax, x, dim: jax.numpy.expand_dims(x, dim),
    "squeeze": _squeeze,
    "flatten": _flatten,
    "flip": lambda jax, x, *dims: jax.numpy.flip(x, _sizes(dims)),
    "roll": _roll,
    "tile": lambda jax, x, *dims: jax.numpy.tile(x, _sizes(dims)),
    "repeat": lambda jax, x, *sizes: jax.numpy.tile(x, _sizes(sizes)),
    "repeat_interleave": lambda jax, x, repeats, dim=None: jax.numpy.repeat(x, repeats, dim),
    "cat": lambda jax, tensors, dim=0: jax.numpy.concatenate(tensors, dim),
    "stack": lambda jax, tensors, dim=0: jax.numpy.stack(tensors, dim),
    "tril": lambda jax, x, diagonal=0: jax.numpy.tril(x, diagonal),
    "triu": lambda jax, x, diagonal=0: jax.numpy.triu(x, diagonal),
    "diagonal": lambda jax, x, offset=0, dim1=0, dim2=1: jax.numpy.diagonal(x, offset, dim1, dim2),
    "isclose": lambda jax, x, y, rtol=1e-5, atol=1e-8, equal_nan=False: jax.numpy.isclose(x, y, rtol, atol, equal_nan),
    "__getitem__": lambda jax, x, key: x[tuple(key) if isinstance(key, list) else key],
    "select": lambda jax, x, dim, index: x[_at(dim, x.ndim, index)],
    "narrow": _narrow,
    "index_select": lambda jax, x, dim, index: jax.numpy.take(x, index, axis=dim),
    "take": lambda jax, x, index: jax.numpy.take(x, index),
    "take_along_dim": lambda jax, x, indices, dim=None: jax.numpy.take_along_axis(x, indices, axis=dim),
    "masked_fill": _masked,
    "masked_select": _masked_select,
    "index_put": _index_put,
    "index_add": lambda jax, x, dim, index, y, alpha=1: x.at[_at(dim, x.ndim, index)].add(alpha * y),
    "index_copy": lambda jax, x, dim, index, y: x.at[_at(dim, x.ndim, index)].set(y),
    "index_fill": lambda jax, x, dim, index, value: x.at[_at(dim, x.ndim, index)].set(value),
    "norm": _norm,
    "softplus": _softplus,
    "hardtanh": _hardtanh,
    "layer_norm": _layer_norm,
    "complex": lambda jax, x, y: jax.lax.complex(x, y),
    "view_as_real": lambda jax, x: jax.numpy.stack((x.real, x.imag), axis=-1),
    "float": lambda jax, x: x.astype("float32"),
    "to": lambda jax, x, dtype: x.astype(dtype),
}
"""From refengine's names to functions of ``jax`` and of an op's arguments as PyTorch takes them."""
