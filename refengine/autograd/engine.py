"""Runs a backward pass: newest node first, each once, when every gradient that flows to it has arrived.

Edges always lead to older nodes, so taking nodes by falling number is a topological order; a heap of numbers and a
dict of pending gradients is all the state there is, and no recursion is needed however deep the graph. Gradients are
the backend's arrays; only where the gradient's own graph is wanted are they tensors, and the same rules run in the
engine's namespace.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from refengine.autograd.graph import FREED, BaseNode, Edge, Node, edge_of, shape_at
from refengine.errors import ArgumentError, AutogradError, NonScalarBackwardError, ShapeError, UnsupportedGradError
from refengine.state import state
from refengine.tensor import BACKENDS, Tensor

TENSOR_NAMESPACE: list[Any] = []
"""Set by namespace.py: the engine's own namespace over tensors."""


HOST_BACKEND = next(iter(BACKENDS.values()))
HOST, HOST_NAMESPACE = HOST_BACKEND.array_type, HOST_BACKEND.xp


class Pass:
    """One backward pass.

    Attributes
    ----------
    create_graph : bool
        Gradients are tensors with history.
    keep : bool
        Saved values are not let go.
    pending : dict
        Number of a node -> [node, gradient], or [node, list of gradients] where it has several outputs.
    leaves : dict
        id of a leaf -> [leaf, gradient so far, whether the engine made that gradient itself].
    wanted : set or None
        Numbers of nodes and negated ids of leaves that lead to a wanted input; None: all.
    captures : dict
        (number of node, output) of each wanted non-leaf -> its gradient, once known.
    """

    def __init__(self, create_graph: bool, keep: bool) -> None:
        self.create_graph = create_graph
        self.keep = keep
        self.heap: list[int] = []
        self.pending: dict[int, list[Any]] = {}
        self.leaves: dict[int, list[Any]] = {}
        self.wanted: set[int] | None = None
        self.captures: dict[tuple[int, int], Any] = {}

    def send(self, edge: Edge, grad: Any) -> None:
        """Let a gradient arrive at an edge, adding it to what is there."""
        shape = edge.shape if type(edge) is Node else shape_at(edge)
        if grad.shape != shape:
            grad = self._reduced(grad, shape)
        if isinstance(edge, Tensor):
            self._send_to_leaf(edge, grad)
            return
        node, number = edge.target, edge.number
        seq = node.seq
        if self.wanted is not None and seq not in self.wanted:
            return
        entry = self.pending.get(seq)
        if entry is None:
            self.pending[seq] = entry = [node, None if node.outputs == 1 else [None] * node.outputs]
            heappush(self.heap, -seq)
        if node.outputs == 1:
            entry[1] = grad if entry[1] is None else entry[1] + grad
        else:
            have = entry[1][number]
            entry[1][number] = grad if have is None else have + grad

    def _send_to_leaf(self, leaf: Tensor, grad: Any) -> None:
        key = id(leaf)
        if self.wanted is not None and -key not in self.wanted:
            return
        entry = self.leaves.get(key)
        if entry is None:
            self.leaves[key] = [leaf, grad, False]
        else:
            entry[1], entry[2] = entry[1] + grad, True

    def _reduced(self, grad: Any, shape: tuple[int, ...]) -> Any:
        """Sum a gradient over what was broadcast."""
        xp = TENSOR_NAMESPACE[0] if isinstance(grad, Tensor) else _xp_of(grad)
        lead = len(grad.shape) - len(shape)
        if lead < 0 or any(want not in (1, have) for have, want in zip(grad.shape[lead:], shape, strict=True)):
            raise ShapeError(
                f"backward: expected a gradient of shape {shape} or one that sums to it, got {tuple(grad.shape)}"
            )
        return xp.sum_to(grad, shape)

    def run(self) -> None:
        """Take nodes by falling number until none is pending.

        The loop's body is the common case unrolled: a declared op, nobody watching, arrays. It checks what was saved,
        calls the rule of each input and lets the result arrive; `_visit` does the same for every other node.
        """
        heap, pending, free = self.heap, self.pending, not self.keep
        common, wanted = not self.create_graph and not self.captures, self.wanted
        while heap:
            node, grad = pending.pop(-heappop(heap))
            if not common or type(node) is not Node or node.hooks is not None or node.op.variadic:
                self._visit(node, [grad] if node.outputs == 1 else grad)
                continue
            xp = HOST_NAMESPACE if type(grad) is HOST else _xp_of(grad)
            rules, params, saved = node.op.rules, node.params, node.saved
            for i in range(1, len(saved), 3):
                if saved[i] is None or saved[i].version != saved[i + 1]:
                    node.unpack(False)
            for i, edge in enumerate(node.targets):
                if edge is None:
                    continue
                rule, picks = rules[i]
                if params is not None:
                    result = rule(xp, grad, *[saved[3 * p] for p in picks], **params[i])
                elif not picks:
                    result = rule(xp, grad)
                elif len(picks) == 1:
                    result = rule(xp, grad, saved[3 * picks[0]])
                else:
                    result = rule(xp, grad, *[saved[3 * p] for p in picks])
                if type(edge) is not Node or result is None or result.shape != edge.shape:
                    if result is not None:
                        self.send(edge, result)
                    continue
                seq = edge.seq
                entry = pending.get(seq)
                if entry is None:
                    if wanted is None or seq in wanted:
                        pending[seq] = [edge, result]
                        heappush(heap, -seq)
                else:
                    entry[1] = entry[1] + result
            if free and saved:
                node.saved = FREED

    def _visit(self, node: BaseNode, grads: list[Any]) -> None:
        """Run one node, with its hooks."""
        if node.hooks is not None:
            grads = self._before(node, grads)
        if self.captures:
            self._capture(node, grads)
        if all(grad is None for grad in grads):
            return
        xp = TENSOR_NAMESPACE[0] if self.create_graph else _xp_of(next(g for g in grads if g is not None))
        results = node.pull(grads, xp, self.create_graph, self.keep)
        if node.hooks is not None and node.hooks.after:
            results = self._after(node, results, grads)
        for edge, grad in zip(node.targets, results, strict=True):
            if edge is not None and grad is not None:
                self.send(edge, grad)

    def _before(self, node: BaseNode, grads: list[Any]) -> list[Any]:
        """Tensor hooks, node hooks, then retained gradients, as PyTorch orders them."""
        hooks = node.hooks
        assert hooks is not None
        for number, registered in hooks.tensor.items():
            for hook in list(registered.values()):
                if grads[number] is not None:
                    replaced = hook(self.as_tensor(grads[number]))
                    grads[number] = grads[number] if replaced is None else self._from_hook(replaced, grads[number])
        for hook in list(hooks.before.values()):
            replaced = hook(tuple(None if g is None else self.as_tensor(g) for g in grads))
            if replaced is not None:
                values = replaced if isinstance(replaced, tuple) else (replaced,)
                grads = [None if v is None else self.raw(v) for v in values]
        for number, reference in hooks.retained.items():
            tensor = reference()
            if tensor is not None and grads[number] is not None:
                self._accumulate(tensor, grads[number], False)
        return grads

    def _after(self, node: BaseNode, results: tuple[Any, ...], grads: list[Any]) -> tuple[Any, ...]:
        """Node hooks that see, and may replace, the gradients of the inputs."""
        assert node.hooks is not None
        outputs = tuple(None if g is None else self.as_tensor(g) for g in grads)
        for hook in list(node.hooks.after.values()):
            replaced = hook(tuple(None if r is None else self.as_tensor(r) for r in results), outputs)
            if replaced is not None:
                values = replaced if isinstance(replaced, tuple) else (replaced,)
                if len(values) != len(results):
                    raise ArgumentError(
                        f"{node.name()}: a hook returned {len(values)} gradients, expected {len(results)}"
                    )
                results = tuple(None if v is None else self.raw(v) for v in values)
        return results

    def _from_hook(self, replaced: Any, grad: Any) -> Any:
        """What a tensor hook returned, checked."""
        if not isinstance(replaced, Tensor):
            raise ArgumentError(f"hook: expected a Tensor or None to be returned, got {type(replaced).__name__}")
        if replaced.shape != grad.shape:
            raise ShapeError(f"hook: it returned a gradient of shape {replaced.shape}, expected {tuple(grad.shape)}")
        return self.raw(replaced)

    def _capture(self, node: BaseNode, grads: list[Any]) -> None:
        for number, grad in enumerate(grads):
            if (node.seq, number) in self.captures:
                self.captures[node.seq, number] = grad

    def as_tensor(self, grad: Any) -> Tensor:
        """A gradient as hooks and users see it."""
        if isinstance(grad, Tensor):
            return grad
        return Tensor(grad if type(grad) in BACKENDS else HOST_BACKEND.wrap(grad))

    def raw(self, grad: Tensor) -> Any:
        """A tensor as the pass carries gradients."""
        return grad if self.create_graph else grad.array

    def finish_leaf(self, leaf: Tensor, grad: Any) -> Any:
        """Run the leaf's hooks on its final gradient."""
        if leaf.extra is not None:
            for hook in list(leaf.extra.hooks.values()):
                replaced = hook(self.as_tensor(grad))
                grad = grad if replaced is None else self._from_hook(replaced, grad)
        return grad

    def accumulate_leaves(self) -> None:
        """Add what arrived at each leaf to its `grad`."""
        for leaf, grad, own in self.leaves.values():
            final = self.finish_leaf(leaf, grad)
            if not leaf.tracked:  # requires_grad was cleared since
                continue
            self._accumulate(leaf, final, own and final is grad)
            if leaf.extra is not None:
                for hook in list(leaf.extra.post_hooks.values()):
                    hook(leaf)

    def _accumulate(self, tensor: Tensor, grad: Any, own: bool) -> None:
        """``tensor.grad += grad``; in place unless its graph is wanted. `own`: nobody else holds the array."""
        have = tensor._grad
        new = self.as_tensor(grad)
        if new.array.dtype != tensor.array.dtype:
            new = Tensor(tensor.backend.xp.astype(new.array, tensor.array.dtype)) if not self.create_graph else new
        if self.create_graph:
            tensor._grad = new if have is None else have + new
        elif have is None:
            tensor._grad = self._owned(tensor, new, own)
        elif have.tracked:
            tensor._grad = Tensor(have.array + new.array)
        else:
            tensor.backend.assign(have.array, have.array + new.array)
            have.storage.version += 1

    def _owned(self, tensor: Tensor, new: Tensor, own: bool) -> Tensor:
        """A gradient in memory of its own, with the strides of its tensor where that has no gaps."""
        backend = tensor.backend
        if backend.strides(new.array) == backend.strides(tensor.array) or tensor.is_contiguous():
            return new if own else Tensor(backend.copy(new.array))
        array = backend.xp.copy_dense(tensor.array)
        backend.assign(array, new.array)
        return Tensor(array)


def _xp_of(grad: Any) -> Any:
    """The namespace of a gradient; NumPy's scalars belong to NumPy."""
    return BACKENDS.get(type(grad), HOST_BACKEND).xp


def _start(
    outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], keep: bool, create_graph: bool
) -> tuple[Pass, list[tuple[Edge, Any]]]:
    """The pass and the gradients it starts with."""
    run = Pass(create_graph, keep)
    roots = []
    for i, (output, cotangent) in enumerate(zip(outputs, cotangents, strict=True)):
        edge = edge_of(output)
        if edge is None:
            raise AutogradError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        roots.append((edge, run.raw(_cotangent(output, cotangent))))
    return run, roots


def _cotangent(output: Tensor, given: Tensor | None) -> Tensor:
    """The vector that the Jacobian is multiplied with."""
    if given is None:
        if output.numel() != 1:
            raise NonScalarBackwardError(
                "grad can be implicitly created only for scalar outputs: backward computes a "
                "vector-Jacobian product, and "
                f"only a scalar has the obvious vector, 1; this tensor has shape {tuple(output.shape)}, so "
                "pass the vector as "
                "gradient=..., of that shape, or reduce the tensor to a scalar first, with sum() say"
            )
        return Tensor(output.backend.full(tuple(output.shape), 1, output.array.dtype))
    if not isinstance(given, Tensor):
        raise ArgumentError(f"gradient: expected a Tensor or None, got {type(given).__name__}")
    if given.shape != output.shape:
        raise ShapeError(
            f"gradient: expected the shape of the output, {tuple(output.shape)}, got "
            f"{tuple(given.shape)}; a vector-Jacobian "
            "product needs one number for each output"
        )
    if given.array.dtype != output.array.dtype:
        return (
            Tensor(output.backend.xp.astype(given.array, output.array.dtype))
            if not given.tracked
            else given.to(output.dtype)
        )
    return given


def _leading_to(roots: list[tuple[Edge, Any]], goals: list[Edge]) -> set[int]:
    """Numbers of nodes, and negated ids of leaves, on a path from a root to a goal."""
    ends = {_key(goal) for goal in goals}
    wanted: set[int] = set()
    order: list[BaseNode] = []
    seen: set[int] = set()
    stack: list[Edge] = [edge for edge, _ in roots]
    while stack:
        edge = stack.pop()
        if isinstance(edge, Tensor):
            continue
        node = edge.target
        if node.seq not in seen:
            seen.add(node.seq)
            order.append(node)
            stack.extend(target for target in node.targets if target is not None)
    for node in sorted(order, key=lambda n: n.seq):
        if node.seq in ends or any(_key(t) in wanted or _key(t) in ends for t in node.targets if t is not None):
            wanted.add(node.seq)
    return wanted | ends


def _key(edge: Edge) -> int:
    return -id(edge) if isinstance(edge, Tensor) else edge.target.seq


def _run(run: Pass, roots: list[tuple[Edge, Any]]) -> None:
    """Run in the grad mode that the pass needs."""
    before = state.grad_enabled
    state.grad_enabled = run.create_graph
    try:
        for edge, grad in roots:
            run.send(edge, grad)
        run.run()
    finally:
        state.grad_enabled = before


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate the gradients of `tensors` into the `grad` of the leaves (or of `inputs` alone).

    Parameters
    ----------
    tensors : Tensor or sequence
        What to differentiate.
    grad_tensors : Tensor, None or sequence
        The vector of the vector-Jacobian product, one for each of `tensors`; None means 1 and is for scalars.
    retain_graph : bool, optional
        Keep what the graph saved, so that it can be run again; by default as `create_graph`.
    create_graph : bool
        Record the gradients' own graph.
    inputs : Tensor or sequence, optional
        Accumulate into these alone.

    Raises
    ------
    NonScalarBackwardError, FreedGraphError, StaleSaveError, AutogradError
    """
    outputs = _as_list(tensors)
    cotangents = [None] * len(outputs) if grad_tensors is None else _as_list(grad_tensors)
    run, roots = _start(outputs, cotangents, bool(create_graph if retain_graph is None else retain_graph), create_graph)
    goals: list[tuple[Tensor, Edge]] = []
    if inputs is not None:
        if isinstance(inputs, (tuple, list)) and not inputs:
            raise AutogradError("backward: inputs cannot be empty; leave it out for all leaves")
        goals = _goals(_as_list(inputs))
        _want(run, roots, [edge for _, edge in goals])
    _run(run, roots)
    before = state.grad_enabled
    state.grad_enabled = create_graph
    try:
        run.accumulate_leaves()
        for tensor, edge in goals:
            grad = None if isinstance(edge, Tensor) else run.captures[edge.target.seq, edge.number]
            if grad is not None:
                run._accumulate(tensor, grad, False)
    finally:
        state.grad_enabled = before


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, leaving every `grad` alone.

    Parameters
    ----------
    outputs, inputs, grad_outputs : Tensor or sequence
        As in `backward`.
    retain_graph, create_graph : bool
        As in `backward`.
    allow_unused : bool
        Return None for an input that the outputs do not depend on, instead of raising.
    materialize_grads : bool
        Return zeros for such an input.

    Returns
    -------
    tuple of Tensor, one for each of `inputs`
    """
    if is_grads_batched:
        raise UnsupportedGradError("grad: is_grads_batched is not offered; call grad once for each vector")
    tensors = _as_list(outputs)
    cotangents = [None] * len(tensors) if grad_outputs is None else _as_list(grad_outputs)
    run, roots = _start(tensors, cotangents, bool(create_graph if retain_graph is None else retain_graph), create_graph)
    goals = _goals(_as_list(inputs))
    _want(run, roots, [edge for _, edge in goals])
    _run(run, roots)
    before = state.grad_enabled
    state.grad_enabled = create_graph
    try:
        return tuple(_found(run, tensor, edge, allow_unused, materialize_grads) for tensor, edge in goals)
    finally:
        state.grad_enabled = before


def _goals(inputs: list[Tensor]) -> list[tuple[Tensor, Edge]]:
    """Each input with its edge."""
    goals = []
    for i, tensor in enumerate(inputs):
        edge = edge_of(tensor)
        if edge is None:
            raise AutogradError(
                f"inputs: element {i} does not require grad; call requires_grad_() on it before it is used"
            )
        goals.append((tensor, edge))
    return goals


def _want(run: Pass, roots: list[tuple[Edge, Any]], goals: list[Edge]) -> None:
    """Restrict the pass to what leads to the goals."""
    run.wanted = _leading_to(roots, goals)
    run.captures = {(goal.target.seq, goal.number): None for goal in goals if not isinstance(goal, Tensor)}


def _found(run: Pass, tensor: Tensor, edge: Edge, allow_unused: bool | None, materialize: bool) -> Tensor | None:
    """The gradient that the pass left for one input."""
    if isinstance(edge, Tensor):
        entry = run.leaves.get(id(edge))
        grad = None if entry is None else run.finish_leaf(edge, entry[1])
    else:
        grad = run.captures[edge.target.seq, edge.number]
    if grad is not None:
        return run.as_tensor(grad)
    if materialize:
        return Tensor(tensor.backend.full(tuple(tensor.shape), 0, tensor.array.dtype))
    if allow_unused:
        return None
    raise AutogradError(
        "grad: one of the differentiated tensors appears to not have been used in the graph; pass allow_unused=True if "
        "that is right"
    )
