"""A program: an engine-neutral straight line of tensor operations, views and mutations.

It is what is drawn, run, shrunk and printed. It knows op names and PyTorch's spelling of calls, no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gradcheck.failures import UsageError

Array = npt.NDArray[Any]

ATTRIBUTES = frozenset({"real", "imag", "T", "mT", "H"})
"""Ops that PyTorch spells without parentheses."""
_TORCH_LIKE = ("torch", "refengine")


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of the program: input `x0`, constant `c0`, the result of step `v0`, or one item of it, `v0[1]`."""

    kind: str
    index: int
    item: int | None = None

    @property
    def name(self) -> str:
        """The name of the whole value, without the item."""
        return f"{self.kind}{self.index}"

    def __str__(self) -> str:
        return self.name if self.item is None else f"{self.name}[{self.item}]"


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """A differentiable input: its values as a strided array (expanded and transposed layouts are kept)."""

    values: Array
    requires_grad: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call.

    Attributes
    ----------
    op : str
    args, kwargs : tuple, mapping
        Trees of tuples and lists whose leaves are Refs, numbers, slices, None, Ellipsis and strings.
    inplace : bool
        Calls ``<op>_`` on the first argument, which must be a Ref.
    view : bool
        The result shares memory with the first argument.
    form : str
        How it is spelled: "method", or the namespace of a function: "function" (``torch.cat``), "nn.functional".
    """

    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inplace: bool = False
    view: bool = False
    form: str = "method"


class Caller(Protocol):
    """The part of an engine that runs a program's steps."""

    def call(self, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, inplace: bool = False) -> Any:
        """Call op `op` as PyTorch spells it; its in-place form where `inplace`."""
        ...

    def tensor(self, values: Array, *, requires_grad: bool = False) -> Any:
        """A new tensor with these values and this layout; the caller's memory is not shared."""
        ...


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Program:
    """A straight-line program. Printed, it is Python source in PyTorch's spelling.

    Attributes
    ----------
    inputs, constants : tuple
        Differentiable inputs (floating), and index, mask or floating constants.
    steps : tuple of Step
        In order; step k defines value v<k>.
    outputs : tuple of Ref
        What it returns: floating values, at least one unless the program is empty.
    records : tuple of bytes
        What it was decoded from: the replay id and the corpus entry.
    """

    inputs: tuple[Input, ...]
    constants: tuple[Array, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Ref, ...]
    records: tuple[bytes, ...] = ()

    @property
    def ops(self) -> tuple[str, ...]:
        """The names of the ops called, in order."""
        return tuple(step.op for step in self.steps)

    def run(self, engine: Caller, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Run on `engine` with its tensors `inputs`, which only a step of the program may mutate; give the outputs."""
        return self.on(engine)(*inputs)

    def on(self, engine: Caller) -> Callable[..., tuple[Any, ...]]:
        """The program as a function of the engine's tensors, prepared for many calls."""
        prepared = _Prepared(self)
        return lambda *inputs: prepared.outputs(prepared.run(engine, inputs))

    def trace(self, engine: Caller, inputs: Sequence[Any]) -> dict[str, Any]:
        """Run and return every value by its name ("x0", "c1", "v2"); a step with several results has a tuple."""
        prepared = _Prepared(self)
        values = prepared.run(engine, inputs)
        return {name: values[slot] for name, slot in prepared.slots.items()}

    def __str__(self) -> str:
        return "\n".join(_lines(self, dtype=""))

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print as source in IPython and in Hypothesis, which would print the fields of a dataclass."""
        lines = str(self).splitlines()
        for line in lines[:-1]:
            printer.text(line)
            printer.break_()
        printer.text(lines[-1])

    def script(self, engine: str = "torch") -> str:
        """A stand-alone script that runs the program and prints its outputs and gradients.

        Parameters
        ----------
        engine : str
            The module to import: "torch" or "refengine", which is imported under the same name.

        Returns
        -------
        str
            Python source; the cotangents are ones.

        Raises
        ------
        UsageError
            For an engine that PyTorch's calls mean nothing to; `gradcheck.engines.jaxscript` writes JAX's.
        """
        if engine not in _TORCH_LIKE:
            raise UsageError(
                f"script: expected engine {' or '.join(map(repr, _TORCH_LIKE))}, got engine={engine!r}; "
                "gradcheck.engines.jaxscript.script(program) writes one for JAX"
            )
        names = [f"x{i}" for i, given in enumerate(self.inputs) if given.requires_grad]
        lines = ["import torch" if engine == "torch" else f"import {engine} as torch"]
        written = self if engine == "torch" else replace(self, steps=tuple(map(_as_method, self.steps)))
        lines += ["", "torch.set_default_dtype(torch.float64)", *_lines(written, dtype="torch.")]
        lines += ["", "cotangents = [torch.ones_like(value) for value in out]"]
        lines += [f"grads = torch.autograd.grad(out, [{', '.join(names)}], cotangents, allow_unused=True)"]
        lines += ["for value in out:", "    print(value)"]
        lines += [f"for name, grad in zip({names!r}, grads):", '    print(name, "grad:", grad)', ""]
        return "\n".join(lines)


class _Prepared:
    """A program's calls, with every value in a numbered slot: inputs, constants, results.

    Attributes
    ----------
    slots : dict
        From a value's name to its slot.
    outputs : callable
        From the slots' values to the outputs.
    """

    __slots__ = ("_calls", "_constants", "outputs", "slots")

    def __init__(self, program: Program) -> None:
        kinds = (("x", program.inputs), ("c", program.constants), ("v", program.steps))
        names = [f"{kind}{number}" for kind, values in kinds for number in range(len(values))]
        self.slots = {name: slot for slot, name in enumerate(names)}
        self._constants = program.constants
        self._calls = [
            (step.op, self._filled(step.args), self._filled(step.kwargs), step.inplace) for step in program.steps
        ]
        self.outputs: Callable[[list[Any]], tuple[Any, ...]] = self._filled(program.outputs)

    def run(self, engine: Caller, inputs: Sequence[Any]) -> list[Any]:
        """Every slot's value."""
        values = [*inputs, *map(engine.tensor, self._constants)]
        for op, args, kwargs, inplace in self._calls:
            values.append(engine.call(op, args(values), kwargs(values), inplace=inplace))
        return values

    def _filled(self, tree: Any) -> Callable[[list[Any]], Any]:
        """From the slots' values to the argument tree with each Ref replaced."""
        if isinstance(tree, Ref):
            slot, item = self.slots[tree.name], tree.item
            return itemgetter(slot) if item is None else lambda values: values[slot][item]
        if next(refs(tree), None) is None:
            return lambda values: tree
        if isinstance(tree, Mapping):
            parts = {key: self._filled(part) for key, part in tree.items()}
            return lambda values: {key: part(values) for key, part in parts.items()}
        kind, getters = type(tree), [self._filled(part) for part in tree]
        if kind is tuple and len(tree) > 1 and all(isinstance(part, Ref) and part.item is None for part in tree):
            return itemgetter(*(self.slots[part.name] for part in tree))
        return lambda values: kind([getter(values) for getter in getters])


def lookup(values: Mapping[str, Any], ref: Ref) -> Any:
    """The value that `ref` names in a trace."""
    value = values[ref.name]
    return value if ref.item is None else value[ref.item]


def map_refs(tree: Any, replace: Callable[[Ref], Any]) -> Any:
    """The argument tree (keyword arguments, too) with each Ref replaced."""
    if isinstance(tree, Ref):
        return replace(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_refs(item, replace) for item in tree)
    if isinstance(tree, Mapping):
        return {key: map_refs(item, replace) for key, item in tree.items()}
    return tree


def refs(tree: Any) -> Iterator[Ref]:
    """The Refs in an argument tree, in order."""
    if isinstance(tree, Ref):
        yield tree
    elif isinstance(tree, (tuple, list, Mapping)):
        for item in tree.values() if isinstance(tree, Mapping) else tree:
            yield from refs(item)


# Source text ---------------------------------------------------------------------------------------------------------


def _lines(program: Program, dtype: str) -> list[str]:
    """The assignments; `dtype` "torch." spells constructors with their namespace."""
    lines = []
    for i, given in enumerate(program.inputs):
        lines.append(f"x{i} = {dtype}{tensor_text(given.values, requires_grad=given.requires_grad)}")
    for i, values in enumerate(program.constants):
        lines.append(f"c{i} = {dtype}{tensor_text(values)}")
    for i, step in enumerate(program.steps):
        lines.extend(f"v{i} = {line}" if last else line for last, line in step_text(step))
    results = ", ".join(map(str, program.outputs))
    return [*lines, f"out = ({results},)" if len(program.outputs) == 1 else f"out = ({results})"]


def _as_method(step: Step) -> Step:
    """PyTorch has ``nn.functional.elu_`` and no method ``elu_``; refengine has the method."""
    return replace(step, form="method") if step.inplace else step


def tensor_text(values: Array, *, requires_grad: bool = False) -> str:
    """A constructor call that gives these values in this layout."""
    plain, layout = layout_text(values)
    text = f"tensor({_values_text(plain.tolist())}"
    if plain.size == 0:
        dtype = "" if plain.dtype.kind == "f" else f", dtype=torch.{plain.dtype}"
        text, layout = f"tensor([]{dtype}", "" if plain.shape == (0,) else f".reshape({plain.shape})"
    if not requires_grad:
        return f"{text}){layout}"
    return f"{text}, requires_grad=True)" if not layout else f"{text}){layout}.requires_grad_()"


def layout_text(values: Array) -> tuple[Array, str]:
    """Contiguous values, and the calls that bring them into the layout of `values`."""
    if values.flags.c_contiguous:
        return values, ""
    repeated = [s == 0 and n > 1 for n, s in zip(values.shape, values.strides, strict=True)]
    if any(repeated):
        plain, layout = layout_text(values[tuple(slice(1) if r else slice(None) for r in repeated)])
        return plain, f"{layout}.expand({', '.join(map(str, values.shape))})"
    order = sorted(range(values.ndim), key=lambda axis: -values.strides[axis])
    plain = values.transpose(order)
    if plain.flags.c_contiguous:
        inverse = tuple(order.index(axis) for axis in range(values.ndim))
        return plain, ".t()" if inverse == (1, 0) else f".permute{inverse}"
    strides = tuple(s // values.itemsize for s in values.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(values.shape, strides, strict=True))
    memory = np.lib.stride_tricks.as_strided(values, (span,), (values.itemsize,))
    return memory, f".as_strided({values.shape}, {strides})"


def _values_text(tree: Any) -> str:
    if isinstance(tree, list):
        return f"[{', '.join(map(_values_text, tree))}]"
    text = repr(tree)
    return f"float({text!r})" if text in ("nan", "inf", "-inf") else text


def step_text(step: Step) -> list[tuple[bool, str]]:
    """The lines of one step; True marks the one whose value is the step's."""
    name = f"{step.op}_" if step.inplace and not step.op.endswith("__") else step.op
    first = argument_text(step.args[0]) if step.args else ""
    if step.op == "__getitem__":
        return [(True, f"{first}[{_index_text(step.args[1])}]")]
    if step.op == "__setitem__":
        assigned = f"{first}[{_index_text(step.args[1])}] = {argument_text(step.args[2])}"
        return [(False, assigned), (True, first)]
    if step.op in ATTRIBUTES:
        return [(True, f"{first}.{step.op}")]
    is_method = step.form == "method"
    rest = [argument_text(arg) for arg in (step.args[1:] if is_method else step.args)]
    rest += [f"{key}={argument_text(value)}" for key, value in step.kwargs.items()]
    owner = first if is_method else ("torch" if step.form == "function" else f"torch.{step.form}")
    return [(True, f"{owner}.{name}({', '.join(rest)})")]


def argument_text(tree: Any) -> str:
    """An argument as source text."""
    if isinstance(tree, Ref):
        return str(tree)
    if isinstance(tree, list):
        return f"[{', '.join(map(argument_text, tree))}]"
    if isinstance(tree, tuple):
        return f"({', '.join(map(argument_text, tree))}{',' if len(tree) == 1 else ''})"
    if tree is Ellipsis:
        return "..."
    return _values_text(tree)


def _index_text(index: Any) -> str:
    if isinstance(index, tuple) and index:
        return ", ".join(map(_index_text, index)) + ("," if len(index) == 1 else "")
    if isinstance(index, slice):
        ends = ["" if end is None else str(end) for end in (index.start, index.stop)]
        return ":".join(ends if index.step is None else [*ends, str(index.step)])
    return argument_text(index)
