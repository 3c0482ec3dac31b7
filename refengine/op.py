"""The op families: what a declaration says, and how a call of it is computed, recorded and written in place.

A declaration is a class; its one instance is stateless. `forward` and the rules are written against `xp` alone; what a
rule names after `g` is what the graph saves; `bind` turns PyTorch's arguments into the parameters of both.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from refengine import dtypes, layout
from refengine.autograd.graph import edge_of
from refengine.autograd.inplace import rebase, refuse_forbidden
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, DTypeError, ShapeError
from refengine.layout import Shape
from refengine.operand import as_operand, backend_of_all, promote, shape_of
from refengine.recording import UNSAVED, Bound, inputs_of, node_of, view_of
from refengine.spec import EVERYWHERE, Call, Draw, Interval, Kink, Operand
from refengine.state import state
from refengine.storage import CONSTANT
from refengine.tensor import Tensor

INTERCEPT: list[Callable[..., Any]] = []
"""Set by autograd/tracing.py: the detour of an op's call while a rare mode is on."""

COMPLEX = frozenset(d.numpy for d in dtypes.ALL if d.is_complex)


class Op:
    """One operation. Subclass a family below rather than this class, unless the op is like no other.

    Attributes
    ----------
    name : str
        PyTorch's spelling; by default the class name in snake case.
    group : str
        The topic its programs are drawn under.
    inputs : tuple of str
        Names of the tensor inputs; a rule is ``vjp_<input>`` (or ``vjp`` where there is one input).
    spelling : tuple of str
        What PyTorch calls the first inputs that are no constants.
    constants : tuple of str
        Inputs that are never differentiated (conditions, indices).
    variadic : bool
        The first argument is a sequence of tensors; one `vjp` serves all and is told ``index``.
    structure : str
        "elementwise", "linear" (jointly, in all differentiable inputs), "multilinear" or "other".
    form : str
        "method" or "function": how PyTorch spells a call.
    floating : bool
        Integer inputs are converted to the default dtype.
    boolean : bool
        The result is bool and never differentiable.
    holomorphic : bool
        For complex inputs the rules are those of the real function; they are conjugated as needed.
    call : callable
        What users' calls go through: the short path of fast.py where there is one.
    saves : tuple of str
        What the rules together save; worked out from their signatures.
    """

    name: ClassVar[str] = ""
    group: ClassVar[str] = ""
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    spelling: ClassVar[tuple[str, ...]] = ("input", "other")
    constants: ClassVar[tuple[str, ...]] = ()
    variadic: ClassVar[bool] = False
    structure: ClassVar[str] = "other"
    form: ClassVar[str] = "method"
    inplace: ClassVar[bool] = False
    view: ClassVar[bool] = False
    floating: ClassVar[bool] = False
    boolean: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    holomorphic: ClassVar[bool] = True
    domains: ClassVar[tuple[Interval, ...]] = (EVERYWHERE,)
    kinks: ClassVar[tuple[Kink, ...]] = ()
    elsewhere: ClassVar[Mapping[str, str]] = {}
    aliases: ClassVar[tuple[str, ...]] = ()
    min_ndim: ClassVar[int] = 0
    backward_name: ClassVar[str] = ""

    def __init__(self) -> None:
        cls = type(self)
        self.name = cls.name or _snake(cls.__name__)  # type: ignore[misc]
        self.node_name = cls.backward_name or f"{_camel(self.name)}Backward0"
        self.rules: tuple[tuple[Callable[..., Any], tuple[int, ...]], ...] = ()
        self.saves: tuple[str, ...] = ()
        self.saved_from: tuple[int, ...] = ()
        self._forward_names = _keywords(self.forward)
        self._rule_names: tuple[tuple[str, ...], ...] = ()
        if self.differentiable and not self.boolean:
            self._read_rules()
        self._conjugating: Op | None = None
        self.bound = lru_cache(maxsize=4096)(self._bound)
        self.call: Callable[..., Any] = self.__call__
        self._spelled = dict(zip(cls.spelling, (i for i in cls.inputs if i not in cls.constants), strict=False))

    # --- what a declaration says ------------------------------------------------------------------------------------

    def forward(self, xp: Namespace, *arrays: Array, **parameters: Any) -> Array:
        """The result's array."""
        raise NotImplementedError

    def bind(self, *shapes: Any, **arguments: Any) -> dict[str, Any]:
        """PyTorch's arguments, given the inputs' shapes, as the parameters of `forward` and the rules. Pure."""
        count = 1 if self.variadic else len(self.inputs)
        if len(shapes) > count or arguments:
            surplus = ", ".join([*map(repr, shapes[count:]), *(f"{k}={v!r}" for k, v in arguments.items())])
            raise ArgumentError(f"{self.name}: takes {count} argument{'s' if count > 1 else ''}, got {surplus} as well")
        return {}

    def accepts(self, shape: Shape) -> bool:
        """Whether a first operand of this shape will do, when programs are drawn."""
        return len(shape) >= self.min_ndim

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Draw the other operands and the keywords of a call."""
        return Call((x,))

    # --- reading the rules ------------------------------------------------------------------------------------------

    def _read_rules(self) -> None:
        """Work out from the rules' signatures what is saved and which parameters each takes."""
        rules: list[tuple[Callable[..., Any], tuple[str, ...]]] = []
        names: list[tuple[str, ...]] = []
        for i, source in enumerate(self.inputs):
            rule = getattr(self, f"vjp_{source}", None) or (
                getattr(self, "vjp", None) if i == 0 or self.variadic else None
            )
            if rule is None or source in self.constants:
                rules.append((_no_rule, ()))
                names.append(())
                continue
            positional = [
                p.name for p in inspect.signature(rule).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
            ][2:]
            self.saves += tuple(name for name in positional if name not in self.saves)
            rules.append((rule, tuple(positional)))
            names.append(_keywords(rule))
        self.saved_from = tuple(-1 if name == "out" else self.inputs.index(name) for name in self.saves)
        self.rules = tuple((self._rule(rule), tuple(self.saves.index(n) for n in picks)) for rule, picks in rules)
        self._rule_names = tuple(names)

    def _rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """A rule as the backward pass calls it; families wrap it."""
        return rule

    def _bound(self, shapes: Any, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Bound:
        """Bind and split the parameters."""
        try:
            found = self.bind(*shapes, *args, **dict(kwargs))
        except TypeError as error:
            if _raised_by_the_call(error):
                raise ArgumentError(f"{self.name}: {str(error).partition('() ')[2] or error}") from None
            raise
        forward = {name: found[name] for name in self._forward_names if name in found}
        if self.variadic:
            names = self._rule_names[0] if self._rule_names else ()
            each = tuple({n: found[n] for n in names if n in found} | {"index": i} for i in range(len(shapes[0])))
            return Bound(forward, each)
        rules = tuple({name: found[name] for name in names if name in found} for names in self._rule_names)
        return Bound(forward, rules if any(rules) else None)

    # --- calling ----------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Call the op as PyTorch spells it."""
        operands, bound = self.prepare(args, kwargs)
        if state.intercept:
            return INTERCEPT[0](self, operands, bound)  # type: ignore[no-any-return]
        return self.run(operands, bound)

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Bound]:
        """Split the arguments into operands of equal dtype and bound parameters."""
        if kwargs:
            kwargs = {self._spelled.get(name, name): value for name, value in kwargs.items()}
        if self.variadic:
            args = args or (kwargs.pop("tensors", None),)
            if not args or isinstance(args[0], Tensor) or not args[0]:
                raise ArgumentError(f"{self.name}: expected a non-empty sequence of tensors, got {args[:1]!r}")
            operands, rest = tuple(args[0]), args[1:]
        else:
            count = len(self.inputs)
            operands, rest = args[:count], args[count:]
            for name in self.inputs[len(args) :]:
                if name not in kwargs:
                    raise ArgumentError(f"{self.name}: missing the argument {name!r}")
                operands += (kwargs.pop(name),)
        operands = self.convert(operands)
        shapes: Any = tuple([shape_of(operand) for operand in operands])
        shapes = (shapes,) if self.variadic else shapes
        try:
            return operands, self.bound(shapes, rest, tuple(kwargs.items()))
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            return operands, self._bound(shapes, rest, tuple(kwargs.items()))

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """The operands with the dtype that the op computes in."""
        if len(operands) == 1 and not self.floating:
            return operands if isinstance(operands[0], Tensor) else (as_operand(operands[0], self.name),)
        return promote(self, operands)

    def run(self, operands: tuple[Any, ...], bound: Bound) -> Tensor:
        """Compute and record."""
        arrays = [o.array if isinstance(o, Tensor) else o for o in operands]
        backend = backend_of_all(self, operands)
        xp = backend.xp
        try:
            out = (
                self.forward(xp, arrays, **bound.forward)
                if self.variadic
                else self.forward(xp, *arrays, **bound.forward)
            )
        except ValueError:
            self._explain(operands)
            raise
        if type(out) is not backend.array_type:
            out = backend.wrap(out)
        source = operands[0]
        result = Tensor(out, source.storage if self.view else None)
        if state.grad_enabled and self.rules:
            edges = tuple(edge_of(o) if isinstance(o, Tensor) else None for o in operands)
            if any(edge is not None for edge in edges):
                saved = self.save(edges, inputs_of(operands, arrays), (out, result.storage, result.storage.version))
                op = self.conjugating() if self.holomorphic and out.dtype in COMPLEX else self
                result.node, result.tracked = node_of(op, edges, saved, bound, out.shape), True
        if self.view:
            result.view_of = view_of(source, self, bound)
        return result

    def _explain(self, operands: tuple[Any, ...]) -> None:
        """Raise a clear error where the operands of an elementwise op do not broadcast."""
        if isinstance(self, Elementwise):
            layout.broadcast(*(tuple(shape_of(operand)) for operand in operands))

    def save(self, edges: Sequence[Any], inputs: Sequence[Any], out: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """(value, storage, version) of what the rules of the existing edges need, flattened in the order of `saves`."""
        if not self.saves:
            return ()
        needed = {p for edge, (_, picks) in zip(edges, self.rules, strict=False) if edge is not None for p in picks}
        if self.variadic:
            needed = set(range(len(self.saves)))
        flat: tuple[Any, ...] = ()
        for position, source in enumerate(self.saved_from):
            flat += UNSAVED if position not in needed else (out if source < 0 else inputs[source])
        return flat

    def conjugating(self) -> Op:
        """Return the op with rules for complex values: the conjugate of the real rule applied to the conjugate.

        The convention is PyTorch's: the gradient is that of the conjugate variable, so that it points uphill.
        """
        if self._conjugating is None:
            twin = copy.copy(self)
            twin.rules = tuple((_conjugated(rule), picks) for rule, picks in self.rules)
            self._conjugating = twin
        return self._conjugating

    def call_inplace(self, *args: Any, **kwargs: Any) -> Tensor:
        """Write the result into the first operand's memory and make it part of the first operand's history."""
        target = args[0]
        if not isinstance(target, Tensor):
            raise ArgumentError(f"{self.name}_: expected a Tensor, got {type(target).__name__}")
        name = f"{self.name}_"
        operands, bound = self.prepare(args, kwargs)
        if operands[0] is not target:
            operands = self._into(target, args, operands, name)
        if state.intercept:
            return INTERCEPT[0](self, operands, bound, True)  # type: ignore[no-any-return]
        return self.run_inplace(operands, bound)

    def _into(self, target: Tensor, args: tuple[Any, ...], operands: tuple[Any, ...], name: str) -> tuple[Any, ...]:
        """Operands converted to the target's dtype, where PyTorch allows the result to be cast to it."""
        result = operands[0].dtype
        if result.category > target.dtype.category:
            raise DTypeError(
                f"{name}: result type {result.name} can't be cast to the desired output type "
                f"{target.dtype.name}; use {self.name}(...)"
            )
        return (
            target,
            *(o.to(target.dtype) if isinstance(o, Tensor) and o.dtype is not target.dtype else o for o in operands[1:]),
        )

    def run_inplace(self, operands: tuple[Any, ...], bound: Bound) -> Tensor:
        """Compute, write and rebase the history."""
        target: Tensor = operands[0]
        edges = tuple(edge_of(o) if isinstance(o, Tensor) else None for o in operands)
        recording = state.grad_enabled and bool(self.rules) and any(edge is not None for edge in edges)
        refuse_forbidden(target, f"{self.name}_", recording)
        arrays = [o.array if isinstance(o, Tensor) else o for o in operands]
        backend = target.backend
        try:
            out = self.forward(backend.xp, *arrays, **bound.forward)
        except ValueError:
            self._explain(operands)
            raise
        if tuple(out.shape) != tuple(target.array.shape):
            raise ShapeError(
                f"{self.name}_: the result's shape {tuple(out.shape)} does not fit the tensor written to, "
                f"{tuple(target.shape)}"
            )
        inputs = inputs_of(operands, arrays)
        if recording and "x" in self.saves:
            inputs[0] = (backend.copy(target.array), CONSTANT, 0)
        storage = target.storage
        backend.assign(target.array, out)
        storage.version += 1
        if recording:
            saved = self.save(edges, inputs, (target.array, storage, storage.version))
            op = self.conjugating() if self.holomorphic and target.array.dtype in COMPLEX else self
            rebase(target, node_of(op, edges, saved, bound, target.array.shape))
        return target

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def _conjugated(rule: Callable[..., Any]) -> Callable[..., Any]:
    def call(xp: Any, g: Any, *saved: Any, **parameters: Any) -> Any:
        result = rule(xp, xp.conj(g), *saved, **parameters)
        return None if result is None else xp.conj(result)

    return call


def _no_rule(*_: Any, **__: Any) -> None:
    """The rule of an input that has none."""


def _keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the keyword-only parameters."""
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)


def _raised_by_the_call(error: TypeError) -> bool:
    """Whether a TypeError is about the arguments of the call itself, not from inside the function."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_next is None


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.strip("_").split("_"))


# --- families -----------------------------------------------------------------------------------------------------


class Elementwise(Op):
    """Each entry of the result depends on the same entry of the (broadcast) inputs. The jvp is the rule itself.

    Either `kernel` (the name of a function in `xp`) or `forward` is given.
    """

    structure = "elementwise"
    inplace = True
    kernel: ClassVar[str] = ""

    def forward(self, xp: Namespace, *arrays: Array, **parameters: Any) -> Array:
        """The kernel."""
        return getattr(xp, self.kernel)(*arrays)


class Unary(Elementwise):
    """An elementwise op of one input: write ``vjp(self, xp, g, [x | out])``."""

    group = "elementwise"
    floating = True


class Binary(Elementwise):
    """An elementwise op of two inputs that broadcast: write `vjp_x` and `vjp_y`. Python numbers are taken too."""

    group = "elementwise"
    inputs = ("x", "y")
    scalars: ClassVar[bool] = True

    def sample(self, draw: Draw, x: Operand) -> Call:
        """The second operand broadcasts with the first, or is a number."""
        domain = self.domains[-1]
        if self.scalars and draw.integer(0, 7) == 7:
            low, high = max(domain.low, -4.0), min(domain.high, 4.0)
            return Call((x, draw.real(low, high) or 1.0))
        return Call((x, draw.operand(x.shape, domain, broadcast=True)))


class Comparison(Binary):
    """A Binary with a bool result."""

    group = "comparison"
    boolean = True
    inplace = False


class Single(Op):
    """One array and parameters: `bind`, `forward`, `vjp`. Linear unless it says otherwise."""

    structure = "linear"


class ViewOp(Single):
    """A Single whose result shares memory with its input."""

    group = "shape"
    view = True


class Reduction(Single):
    """Reduces axes. `vjp` sees `g` and `out` with the reduced axes kept as 1; its result is expanded to the input.

    The rule must be linear in g entry by entry: applied to a tangent and summed over the axes it is the jvp.
    """

    group = "reduction"
    structure = "reduction"

    def bind(self, shape: Shape, dim: Any = None, keepdim: bool = False) -> dict[str, Any]:
        """Negative axes."""
        return reduced(shape, layout.axes(dim, len(shape)), bool(keepdim))

    def _rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        takes_out = "out" in inspect.signature(rule).parameters
        own = _keywords(rule)

        def call(xp: Any, g: Any, *saved: Any, kept: Shape, shape: Shape, **parameters: Any) -> Any:
            g = xp.reshape(g, kept)
            if takes_out:
                saved = (xp.reshape(saved[0], kept), *saved[1:])
            result = rule(xp, g, *saved, **parameters)
            return result if result.shape == shape else xp.broadcast_to(result, shape)

        self._own_rule_names = (*own, "kept", "shape")
        return call

    def _read_rules(self) -> None:
        super()._read_rules()
        self._rule_names = (self._own_rule_names,)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Every way to name axes, with and without keepdim; the defaults are left out."""
        dim = draw.axes(x.ndim)
        kwargs: dict[str, Any] = {} if dim is None else {"dim": dim}
        if draw.boolean():
            kwargs["keepdim"] = True
            kwargs.setdefault("dim", tuple(range(x.ndim)))
        return Call((x,), kwargs)


def reduced(shape: Shape, axis: Shape, keepdims: bool) -> dict[str, Any]:
    """The parameters of a reduction over `axis`."""
    ndim = len(shape)
    kept = tuple(1 if i - ndim in axis else size for i, size in enumerate(shape))
    return {"axis": axis, "keepdims": keepdims, "kept": kept, "shape": tuple(shape)}


class Composite(Op):
    """Made of other ops: write ``compose(self, *args, **kwargs)`` in terms of tensors. It has no node of its own."""

    def compose(self, *args: Any, **kwargs: Any) -> Tensor:
        """The result."""
        raise NotImplementedError

    def _read_rules(self) -> None:
        """There are none."""

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compose."""
        return self.compose(*args, **{self._spelled.get(name, name): value for name, value in kwargs.items()})
