"""Fills the mix-in that Tensor inherits with the methods, in-place methods and operators that declarations bring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any

from refengine import catalogue, conversion, fast, random, sharing
from refengine.autograd import engine, graph
from refengine.methods import TensorMethods
from refengine.op import Composite, Elementwise, Op
from refengine.operand import number
from refengine.ops import comparison, indexing, linalg, scattering
from refengine.tensor import Tensor

OPERATORS = {
    "__neg__": "neg", "__abs__": "abs", "__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "div",
    "__pow__": "pow", "__matmul__": "matmul", "__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le",
    "__gt__": "gt", "__ge__": "ge", "__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor",
    "__invert__": "bitwise_not", "__mod__": "remainder", "__floordiv__": "floor_divide",
}  # fmt: skip
REFLECTED = {
    "__radd__": "add", "__rsub__": "sub", "__rmul__": "mul", "__rtruediv__": "div", "__rpow__": "pow",
    "__rmatmul__": "matmul", "__rmod__": "remainder", "__rfloordiv__": "floor_divide",
}  # fmt: skip
INPLACE = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div", "__ipow__": "pow"}


PROPERTIES: dict[str, Callable[..., Any]] = {"T": linalg.reverse_axes, "mT": linalg.matrix_transpose}
OP_PROPERTIES = {"H": "adjoint", "mH": "adjoint", "real": "real", "imag": "imag"}
"""What PyTorch spells as an attribute of a tensor: plain functions, and ops."""


def method(op: Op, name: str) -> Callable[..., Any]:
    """An op as a plain function, which binds as a method."""
    call = op.call
    if isinstance(call, FunctionType):
        return call

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return call(self, *args, **kwargs)

    return _signed(_named(method, name, op.__doc__), op)


def inplace_method(op: Op, name: str) -> Callable[..., Any]:
    """The in-place form of an op."""
    call = op.call_inplace

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return call(self, *args, **kwargs)

    doc = f"In-place form of `{op.name}`: writes into the tensor and returns it."
    return _signed(_named(method, name, doc), op)


def _reflected(op: Op, name: str) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return op(number(other), self)

    return _named(method, name, op.__doc__)


def _operator(op: Op, name: str) -> Callable[..., Any]:
    """A binary operator gives way to the other operand's type where it is no tensor and no number."""

    def method(self: Tensor, *other: Any) -> Any:
        if not other:
            return op(self)
        value = number(other[0])
        if isinstance(value, (Tensor, int, float, complex)) or hasattr(value, "__array_interface__"):
            return op(self, value)  # refuses NumPy's arrays, whose own operators would drop the history without a word
        return NotImplemented

    return _named(fast.call_of(op, method), name, op.__doc__)


def _named(function: Callable[..., Any], name: str, doc: str | None, qualname: str = "Tensor.{}") -> Callable[..., Any]:
    function.__name__ = name
    function.__qualname__ = qualname.format(name)
    function.__doc__ = doc
    return function


def _signed(function: Callable[..., Any], op: Op) -> Callable[..., Any]:
    function.__signature__ = signature(op)  # type: ignore[attr-defined]
    return function


@cache
def signature(op: Op) -> Signature:
    """The signature of an op's function, as PyTorch spells it: the inputs, then what `bind` or `compose` takes."""
    if isinstance(op, Composite):
        composed = inspect.signature(op.compose)
        spelled = dict(zip(op.inputs, op.spelling, strict=False))
        found = [p.replace(name=spelled.get(p.name, p.name)) for p in composed.parameters.values()]
        return composed.replace(parameters=[found[0].replace(annotation="Tensor"), *found[1:]])
    bound = list(inspect.signature(op.bind).parameters.values())[1 if op.variadic else len(op.inputs) :]
    bound = [] if type(op).bind is Op.bind else bound
    if op.variadic:
        tensors = [Parameter("tensors", Parameter.POSITIONAL_OR_KEYWORD, annotation="Sequence[Tensor]")]
        return Signature([*tensors, *bound], return_annotation="Tensor")
    names = dict(zip((name for name in op.inputs if name not in op.constants), op.spelling, strict=False))
    kinds = ["Tensor", *["Tensor | complex" if isinstance(op, Elementwise) else "Tensor"] * (len(op.inputs) - 1)]
    tensors = [
        Parameter(names.get(name, name), Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
        for name, kind in zip(op.inputs, kinds, strict=True)
    ]
    return Signature([*tensors, *bound], return_annotation="Tensor")


def fill() -> None:
    """Set every method once, at import."""
    for op in catalogue.ops(hidden=True):
        call = fast.call_of(op)
        op.call = _signed(_named(call, op.name, op.__doc__), op) if isinstance(call, FunctionType) else call
    for op in catalogue.ops():
        if op.form == "method":
            for name in (op.name, *op.aliases):
                _set(name, method(op, name))
        if op.inplace and not isinstance(op, Composite):
            for name in (op.name, *op.aliases):
                _set(f"{name}_", inplace_method(op, f"{name}_"))
    known = {op.name: op for op in catalogue.ops()}
    for table, make in ((OPERATORS, _operator), (REFLECTED, _reflected), (INPLACE, inplace_method)):
        for dunder, name in table.items():
            if name in known:
                _set(dunder, make(known[name], dunder))
    for name, own in OWN.items():
        _set(name, own)
    for name, read in PROPERTIES.items():
        _set(name, property(read))
    for name, source in OP_PROPERTIES.items():
        if source in known:
            _set(name, property(method(known[source], name)))
    TensorMethods.__array_priority__ = 1000  # so that NumPy's operators give way to the tensor's
    Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]


def _set(name: str, attribute: Any) -> None:
    setattr(TensorMethods, name, attribute)


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate this tensor's gradient into the leaves it was computed from; see `refengine.autograd.backward`."""
    engine.backward(self, None if gradient is None else [gradient], retain_graph, create_graph, inputs)


FUNCTIONS: dict[str, Callable[..., Any]] = {**comparison.FUNCTIONS, **indexing.FUNCTIONS}
"""What PyTorch has as method and as function, and does not return one tensor."""

OWN: dict[str, Callable[..., Any]] = {
    "backward": backward,
    "register_hook": graph.register_hook,
    "register_post_accumulate_grad_hook": graph.register_post_accumulate_grad_hook,
    "retain_grad": graph.retain_grad,
    "normal_": random.normal_,
    "uniform_": random.uniform_,
    "bernoulli_": random.bernoulli_,
    **conversion.METHODS,
    **sharing.METHODS,
    **FUNCTIONS,
    **scattering.METHODS,
}


def function(op: Op, name: str) -> Callable[..., Any]:
    """An op as a module function."""
    call = op.call
    if isinstance(call, FunctionType):
        return call

    def function(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    return _signed(_named(function, name, op.__doc__, "{}"), op)


def functions() -> dict[str, Callable[..., Any]]:
    """Every op as a module function, by name and aliases, and those beside them that return no single tensor."""
    public = [op for op in catalogue.ops() if not op.name.startswith("_")]
    made = {name: function(op, name) for op in public for name in (op.name, *op.aliases)}
    return made | FUNCTIONS


fill()
