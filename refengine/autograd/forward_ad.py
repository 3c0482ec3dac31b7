"""Forward mode: dual numbers, whose tangents are pushed through by rules that follow from an op's declared structure.

An elementwise op's jvp is its reverse rule applied to the tangent (both multiply by the same diagonal); a linear op's
is its forward; a multilinear op's is a sum of forwards with one input replaced; a reduction's is its rule summed over
the axes. Any other op gets it by differentiating the reverse rule in its cotangent, where it is linear. All of it runs
on tensors and is recorded, so that forward over reverse and reverse over forward need nothing more.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from refengine.autograd.engine import TENSOR_NAMESPACE, grad
from refengine.autograd.inplace import follow
from refengine.errors import ArgumentError, AutogradError, DTypeError, ShapeError
from refengine.op import Elementwise, Op, Reduction
from refengine.recording import Bound
from refengine.state import state
from refengine.tensor import Tensor

_level: list[list[weakref.ref[Tensor]]] = []
"""The open level, if any: the tensors that carry a tangent in it."""
_current_level = -1
"""The number of the open level, as PyTorch numbers them; -1: none."""


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` returns; `tangent` is None where there is none."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Open a level; dual tensors exist only inside one."""
    if _level:
        raise AutogradError("dual_level: nested forward mode is not supported; leave the open level first")
    global _current_level
    _level.append([])
    _current_level, state.level = 0, _level[0]
    state.intercept += 1
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the level; every tangent made in it is dropped."""
    if not _level:
        raise AutogradError("exit_dual_level: no level is open")
    global _current_level
    _current_level, state.level = -1, None
    state.intercept -= 1
    for reference in _level.pop():
        tensor = reference()
        if tensor is not None and tensor.extra is not None:
            tensor.extra.tangent = None


@contextmanager
def dual_level() -> Iterator[int]:
    """A level for the length of a block."""
    level = enter_dual_level()
    try:
        yield level
    finally:
        exit_dual_level(level=level)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A view of `tensor` that carries `tangent`, of the same shape and dtype.

    Raises
    ------
    AutogradError
        Outside a level.
    ShapeError, DTypeError
        If tensor and tangent do not match, or are not floating or complex.
    """
    if not _level:
        raise AutogradError("make_dual: dual tensors exist only inside a level; use `with dual_level():`")
    if not all(isinstance(value, Tensor) for value in (tensor, tangent)):
        raise ArgumentError(
            f"make_dual: expected two tensors, got {type(tensor).__name__} and {type(tangent).__name__}"
        )
    if not tensor.dtype.is_differentiable or tangent.dtype is not tensor.dtype:
        raise DTypeError(
            f"make_dual: expected floating or complex tensors of one dtype, got {tensor.dtype} and {tangent.dtype}"
        )
    if tensor.shape != tangent.shape:
        raise ShapeError(f"make_dual: expected a tangent of shape {tuple(tensor.shape)}, got {tuple(tangent.shape)}")
    with _suspended():
        result: Tensor = TENSOR_NAMESPACE[0].alias(tensor)
    set_tangent(result, tangent)
    return result


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The primal (a view without tangent) and the tangent of a dual tensor."""
    if not _level:
        return UnpackedDualTensor(tensor, None)
    with _suspended():
        primal = TENSOR_NAMESPACE[0].alias(tensor)
    return UnpackedDualTensor(primal, tangent_of(tensor))


def tangent_of(tensor: Tensor) -> Tensor | None:
    """The tangent a tensor carries; a view of a dual tensor carries the view of its tangent."""
    if tensor.extra is not None and tensor.extra.tangent is not None:
        return tensor.extra.tangent
    view = tensor.view_of
    if view is None or view.base.extra is None or view.base.extra.tangent is None:
        return None
    with _suspended():
        tangent = follow(view.base.extra.tangent, view.chain)
    set_tangent(tensor, tangent)
    return tangent


def set_tangent(tensor: Tensor, tangent: Tensor) -> None:
    """Let `tensor` carry `tangent` until the level is closed."""
    tensor.extras().tangent = tangent
    _level[0].append(weakref.ref(tensor))


@contextmanager
def _suspended() -> Iterator[None]:
    """Ops take no detour inside."""
    before = state.intercept
    state.intercept = 0
    try:
        yield
    finally:
        state.intercept = before


def call(op: Op, operands: tuple[Any, ...], bound: Bound, inplace: bool = False) -> Tensor:
    """Compute an op's result, then its tangent where an operand carries one."""
    tangents = [tangent_of(o) if isinstance(o, Tensor) else None for o in operands]
    with _suspended():
        if all(t is None for t in tangents) or not op.rules:
            return op.run_inplace(operands, bound) if inplace else op.run(operands, bound)
        known = operands
        if inplace:  # The tangent's own graph must not see the memory that is about to be written to.
            copied = TENSOR_NAMESPACE[0].copy
            known = (copied(operands[0]), *operands[1:])
            tangents[0] = None if tangents[0] is None else copied(tangents[0])
        state.tangents = kept = [state.level, tangents, None]
        try:
            result = op.run(known, bound)
        finally:
            state.tangents = None
        kept[2] = tangent = _own(op, push(op, known, tangents, result, bound), tangents)
        if not inplace:
            if tangent is not None:
                set_tangent(result, tangent)
            return result
        state.tangents = kept
        try:
            target = op.run_inplace(operands, bound)
        finally:
            state.tangents = None
        if tangent is not None:
            _write_tangent(target, tangent)
        return target


def _own(op: Op, tangent: Tensor | None, tangents: Sequence[Tensor | None]) -> Tensor | None:
    """A tangent in memory of its own, unless the result shares its operand's: it may be written to later."""
    if tangent is None or op.view or all(t is None or t.storage is not tangent.storage for t in tangents):
        return tangent
    copied: Tensor = TENSOR_NAMESPACE[0].copy(tangent)
    return copied


def _write_tangent(target: Tensor, tangent: Tensor) -> None:
    """Give a tensor that was written to its new tangent, in the memory of the old one if there is one."""
    view = target.view_of
    if tangent_of(target) is None and view is not None:
        set_tangent(view.base, TENSOR_NAMESPACE[0].zeros_like(view.base))
    have = tangent_of(target)
    if (
        have is None
        or (view is None and have.shape != tangent.shape)
        or (have.tracked and have.node is None and have.view_of is None)
    ):
        set_tangent(target, tangent)
    else:
        have.copy_(tangent)


def push(
    op: Op, operands: Sequence[Any], tangents: Sequence[Tensor | None], result: Tensor, bound: Bound
) -> Tensor | None:
    """The tangent of ``result = op(*operands)``, or None where it is not differentiable."""
    xp = TENSOR_NAMESPACE[0]
    if isinstance(op, Elementwise):
        return _push_elementwise(op, operands, tangents, result, bound, xp)
    if isinstance(op, Reduction) and op.structure == "reduction":
        return _push_reduction(op, operands, tangents, result, bound, xp)
    if op.structure == "linear":
        filled = [
            o if t is None and _is_constant(op, i, o) else (xp.zeros_like(o) if t is None else t)
            for i, (o, t) in enumerate(zip(operands, tangents, strict=True))
        ]
        return op.run(tuple(filled), bound)
    if op.structure == "multilinear":
        terms = [op.run((*operands[:i], t, *operands[i + 1 :]), bound) for i, t in enumerate(tangents) if t is not None]
        return _total(terms)
    return _push_other(op, operands, tangents, result, bound, xp)


def _is_constant(op: Op, position: int, operand: Any) -> bool:
    """Whether an operand stays as it is in the linear map."""
    return not isinstance(operand, Tensor) or (not op.variadic and op.inputs[position] in op.constants)


def _values(op: Op, picks: Sequence[int], operands: Sequence[Any], result: Tensor) -> list[Any]:
    """What a rule asks to have saved, as tensors."""
    return [result if op.saved_from[p] < 0 else operands[op.saved_from[p]] for p in picks]


def _kwargs(bound: Bound, position: int) -> dict[str, Any]:
    return {} if bound.rules is None else bound.rules[position]


def _push_elementwise(op: Op, operands: Any, tangents: Any, result: Tensor, bound: Bound, xp: Any) -> Tensor | None:
    """Apply each input's rule to its tangent."""
    terms = []
    for i, tangent in enumerate(tangents):
        if tangent is not None and op.inputs[i] not in op.constants:
            rule, picks = op.rules[i]
            wide = tangent if tangent.shape == result.shape else xp.broadcast_to(tangent, tuple(result.shape))
            terms.append(rule(xp, wide, *_values(op, picks, operands, result), **_kwargs(bound, i)))
    return _total([t for t in terms if t is not None])


def _push_reduction(op: Reduction, operands: Any, tangents: Any, result: Tensor, bound: Bound, xp: Any) -> Tensor:
    """Apply the rule to the tangent, entry by entry, and sum over the axes."""
    kwargs = dict(_kwargs(bound, 0))
    kept, shape = kwargs.pop("kept"), kwargs.pop("shape")
    saved = [xp.reshape(v, kept) if v is result else v for v in _values(op, op.rules[0][1], operands, result)]
    entries = op.vjp(xp, tangents[0], *saved, **kwargs)  # type: ignore[attr-defined]
    if entries.shape != shape:
        entries = xp.broadcast_to(entries, shape)
    return xp.reshape(xp.sum(entries, axis=bound.forward["axis"], keepdims=True), tuple(result.shape))  # type: ignore[no-any-return]


def _push_other(op: Op, operands: Any, tangents: Any, result: Tensor, bound: Bound, xp: Any) -> Tensor | None:
    """Differentiate <rule(u), tangent> in u, where it is linear."""
    recording = state.grad_enabled
    state.grad_enabled = True
    try:
        known = [o.detach() if isinstance(o, Tensor) and not recording else o for o in operands]
        out = result if recording else result.detach()
        u = Tensor(xp.zeros_like(result).array, requires_grad=True)
        pulled, seeds = [], []
        for i, tangent in enumerate(tangents):
            rule, picks = op.rules[0] if op.variadic else op.rules[i]
            back = None if tangent is None else rule(xp, u, *_values(op, picks, known, out), **_kwargs(bound, i))
            if back is not None and back.requires_grad:
                pulled.append(xp.sum_to(back, tuple(tangent.shape)) if back.shape != tangent.shape else back)
                seeds.append(tangent)
        if not pulled:
            return None
        found = grad(pulled, [u], seeds, create_graph=recording, allow_unused=True)[0]
    finally:
        state.grad_enabled = recording
    return found


def _total(terms: list[Tensor]) -> Tensor | None:
    """The sum of the terms."""
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total
