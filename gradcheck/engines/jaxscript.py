"""Writes a program as somebody who uses JAX would: pure functions of `jax.numpy`, differentiated by `jax.vjp`.

The table of ops is called with names that write down what is called, beside values that say which shapes there are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from gradcheck.engines.jax import JaxEngine
from gradcheck.engines.jaxops import OPS
from gradcheck.failures import UsageError
from gradcheck.program import Array, Program, Ref, map_refs

_SPECIAL = "jax.scipy.special"


def script(program: Program) -> str:
    """A stand-alone script that runs the program on JAX and prints its outputs and gradients.

    Parameters
    ----------
    program : Program
        Without in-place steps, which JAX has not.

    Returns
    -------
    str
        Python source; the cotangents are ones.

    Raises
    ------
    UsageError
        If the program has a step for which JAX has no function of its own.
    """
    adapter = JaxEngine()
    for step in program.steps:
        if not adapter.supports(step.op, inplace=step.inplace):
            form = "in-place " if step.inplace else ""
            raise UsageError(f"script: jax has no {form}{step.op}; Program.script writes it for another engine")
    with adapter.evaluating():
        steps = _steps(adapter.library, program)
    names = [f"x{i}" for i, given in enumerate(program.inputs) if given.requires_grad]
    arguments = ", ".join(names)
    body = [*steps, f"return {_text(program.outputs)}"]
    lines = ["import jax", *([f"import {_SPECIAL}"] if _SPECIAL in "".join(steps) else []), "import jax.numpy as jnp"]
    lines += ["", 'jax.config.update("jax_enable_x64", True)', ""]
    lines += [f"x{i} = {_array_text(given.values)}" for i, given in enumerate(program.inputs)]
    lines += [f"c{i} = {_array_text(values)}" for i, values in enumerate(program.constants)]
    lines += ["", "", f"def function({arguments}):", *(f"    {line}" for line in body), "", ""]
    lines += [f"out, pullback = jax.vjp(function, {arguments})"]
    lines += ["grads = pullback(tuple(jnp.ones_like(value) for value in out))"]
    lines += ["for value in out:", "    print(value)"]
    lines += [f"for name, grad in zip({names!r}, grads):", '    print(name, "grad:", grad)', ""]
    return "\n".join(lines)


def _steps(library: ModuleType, program: Program) -> list[str]:
    """The assignments; every step is run, as what is written depends on shapes."""
    known: dict[str, Any] = {}
    for kind, arrays in (("x", [given.values for given in program.inputs]), ("c", program.constants)):
        known |= {
            f"{kind}{i}": _Written(library.numpy.asarray(values), f"{kind}{i}") for i, values in enumerate(arrays)
        }
    names, lines = _names(library), []

    def value(ref: Ref) -> Any:
        return known[ref.name] if ref.item is None else known[ref.name][ref.item]

    for i, step in enumerate(program.steps):
        found = OPS[step.op](names, *map_refs(step.args, value), **map_refs(step.kwargs, value))
        lines.append(f"v{i} = {_text(found)}")
        known[f"v{i}"] = _called(_values(found), f"v{i}")
    return lines


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """An array with the source text that gives it, and those of its methods that the table of ops uses."""

    value: Any
    text: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def real(self) -> _Written:
        return _Written(self.value.real, f"{self.text}.real")

    @property
    def imag(self) -> _Written:
        return _Written(self.value.imag, f"{self.text}.imag")

    @property
    def at(self) -> _At:
        return _At(self)

    def __getitem__(self, key: Any) -> _Written:
        return _Written(self.value[_values(key)], f"{self.text}[{_key_text(key)}]")

    def __mul__(self, other: Any) -> _Written:
        return _Written(self.value * _values(other), f"({self.text} * {_text(other)})")

    def __rmul__(self, other: Any) -> _Written:
        return _Written(other * self.value, f"({_text(other)} * {self.text})")

    def __add__(self, other: Any) -> _Written:
        return _Written(self.value + _values(other), f"({self.text} + {_text(other)})")

    def __neg__(self) -> _Written:
        return _Written(-self.value, f"(-{self.text})")

    def reshape(self, *shape: Any) -> _Written:
        return _Written(self.value.reshape(*shape), f"{self.text}.reshape({', '.join(map(_text, shape))})")

    def squeeze(self, axis: int) -> _Written:
        return _Written(self.value.squeeze(axis), f"{self.text}.squeeze({axis})")

    def astype(self, dtype: Any) -> _Written:
        return _Written(self.value.astype(dtype), f"{self.text}.astype({_text(dtype)})")


@dataclass(frozen=True, slots=True, eq=False)
class _At:
    """``x.at`` and, once it has a key, ``x.at[key]``."""

    array: _Written
    key: Any = None

    def __getitem__(self, key: Any) -> _At:
        return _At(self.array, key)

    def add(self, values: Any) -> _Written:
        return self._written(self.array.value.at[_values(self.key)].add(_values(values)), "add", values)

    def set(self, values: Any) -> _Written:
        return self._written(self.array.value.at[_values(self.key)].set(_values(values)), "set", values)

    def _written(self, value: Any, name: str, values: Any) -> _Written:
        return _Written(value, f"{self.array.text}.at[{_key_text(self.key)}].{name}({_text(values)})")


def _names(library: ModuleType) -> SimpleNamespace:
    """What the table of ops takes for ``jax``: functions of the same names that write down how they are called."""
    numpy = _recorded(library.numpy, "jnp")
    numpy.linalg = _recorded(library.numpy.linalg, "jnp.linalg")
    scipy = SimpleNamespace(special=_recorded(library.scipy.special, _SPECIAL))
    return SimpleNamespace(
        numpy=numpy, lax=_recorded(library.lax, "jax.lax"), nn=_recorded(library.nn, "jax.nn"), scipy=scipy
    )


def _recorded(module: ModuleType, path: str) -> SimpleNamespace:
    found = {name: value for name, value in vars(module).items() if callable(value) and not inspect.isclass(value)}
    return SimpleNamespace(**{name: _recorder(value, f"{path}.{name}") for name, value in found.items()})


def _recorder(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        shown = [*map(_text, args), *(f"{key}={_text(value)}" for key, value in kwargs.items())]
        return _called(function(*_values(args), **_values(kwargs)), f"{path}({', '.join(shown)})")

    return called


def _called(value: Any, text: str) -> Any:
    """A result with its text; each of several with its own."""
    if isinstance(value, (tuple, list)):
        return tuple(_called(item, f"{text}[{k}]") for k, item in enumerate(value))
    return _Written(value, text)


def _values(tree: Any) -> Any:
    """Arguments with the values in the place of what is written."""
    if isinstance(tree, _Written):
        return tree.value
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(_values, tree))
    return {key: _values(item) for key, item in tree.items()} if isinstance(tree, dict) else tree


# Text ----------------------------------------------------------------------------------------------------------------


def _text(tree: Any) -> str:
    """An argument or a result as source text."""
    if isinstance(tree, _Written):
        return tree.text
    if isinstance(tree, Ref):
        return str(tree)
    if isinstance(tree, tuple):
        return f"({', '.join(map(_text, tree))}{',' if len(tree) == 1 else ''})"
    if isinstance(tree, list):
        return f"[{', '.join(map(_text, tree))}]"
    text = "..." if tree is Ellipsis else repr(tree)
    return f"float({text!r})" if text in ("nan", "inf", "-inf") else text


def _key_text(key: Any) -> str:
    if isinstance(key, tuple) and key:
        return ", ".join(map(_key_text, key)) + ("," if len(key) == 1 else "")
    if isinstance(key, slice):
        ends = ["" if end is None else str(end) for end in (key.start, key.stop)]
        return ":".join(ends if key.step is None else [*ends, str(key.step)])
    return _text(key)


def _array_text(values: Array) -> str:
    """A constructor; layouts are nothing that JAX has."""
    plain = values.dtype in (np.float64, np.int64, np.bool_, np.complex128)
    dtype = "" if plain and values.size else f', dtype="{values.dtype}"'
    if not values.size:
        return f"jnp.zeros({values.shape}{dtype})"
    return f"jnp.array({_text(values.tolist())}{dtype})"
