"""Wrong ``torch.autograd.Function``s with a source of their own, which a script can show, and their right twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd import Function

from gradcheck.mistake import Mistake
from tests.planted.formulas import OTHER_SQUARE, SQUARE
from tests.planted.mistake import Planted

# Exact zeros are where many real mistakes hide, and where a check must not raise a false alarm.
MATRIX = torch.tensor([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5]])
OTHER = torch.tensor([[0.5, 0.0], [-1.0, 2.0], [0.75, -0.25]])


class Square(Function):
    """x * x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


class SquareWithoutItsFactor(Square):
    """Factor 2."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x


class SquareOfThePositive(Square):
    """The cotangent's sign is lost."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g.abs() * x


class SquareThatScalesItsCotangent(Square):
    """The caller's cotangent is modified."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g.mul_(2) * x


class SquareThatReadsMemory(Square):
    """The cotangent's memory is read as if it were contiguous."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        rows, columns = x.shape
        memory = torch.cat([_memory(g), torch.zeros(x.numel(), dtype=g.dtype)])
        return 2 * memory[: x.numel()].reshape(rows, columns) * x


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """All of the memory behind a tensor, from its first element on."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    return tensor.as_strided((count,), (1,), tensor.storage_offset())


class Sine(Function):
    """sin(x)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


class SineInFloat32(Sine):
    """Computed in float32 on the way, forward and backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.float().sin().to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (g.float() * x.float().cos()).to(g.dtype)


class SineWithAFloat32Gradient(Sine):
    """Computed in float32 on the way, backward only: as accurate as the usual tolerances, and no better."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (g.float() * x.float().cos()).to(g.dtype)


class SineInAFloat32Buffer(Sine):
    """The argument goes through float32 on its way, the rest is float64."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x * 1.1).float().double().sin() * 3.3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x * 1.1).cos() * 3.3 * 1.1


class SineThroughNumPysFloat32(Sine):
    """Computed by NumPy in float32, where no engine sees the cast."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy().astype(np.float32))).to(x.dtype)


class SineOfAMultiple(Sine):
    """The right twin of the buffer."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x * 1.1).sin() * 3.3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x * 1.1).cos() * 3.3 * 1.1


class Product(Function):
    """The matrix product x @ y."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x @ y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g @ y.mT, x.mT @ g


class SquareProduct(Product):
    """Transposed: of the right shape where the matrices are square."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g @ y, x @ g


class ProductInTheWrongSlot(Product):
    """Gradients are listed as they are asked for, and the first place is filled first."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        found = [g @ y.mT] if ctx.needs_input_grad[0] else []
        found += [x.mT @ g] if ctx.needs_input_grad[1] else []
        return (*found, *[None] * (2 - len(found)))


class ProductWithTheWrongFlag(Product):
    """Both gradients are computed where the first one is asked for."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return (g @ y.mT, x.mT @ g) if ctx.needs_input_grad[0] else (None, None)


class ProductWithAVariableOfTheOtherBranch(Product):
    """What the second gradient needs is made where the first one is asked for."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        first = None
        if ctx.needs_input_grad[0]:
            first, turned = g @ y.mT, x.mT
        return first, turned @ g if ctx.needs_input_grad[1] else None


class Doubled(Function):
    """2 x, out of place."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class DoubledInPlace(Doubled):
    """The input is modified, and autograd is not told."""

    @staticmethod
    def forward(ctx, x):
        return x.mul_(2).clone()


class SineWithASharedBuffer(Sine):
    """Gradients accumulate in a buffer of the class, which each backward returns."""

    buffer: torch.Tensor | None = None

    @staticmethod
    def forward(ctx, x):
        SineWithASharedBuffer.buffer = None
        return Sine.forward(ctx, x)

    @staticmethod
    def backward(ctx, g):
        found = Sine.backward(ctx, g)
        kept = SineWithASharedBuffer.buffer
        SineWithASharedBuffer.buffer = found if kept is None or kept.shape != found.shape else kept + found
        return SineWithASharedBuffer.buffer


class SineThatRemembersTheLastCall(Sine):
    """The input is kept on the class, so that the last forward decides for every backward."""

    last: torch.Tensor

    @staticmethod
    def forward(ctx, x):
        SineThatRemembersTheLastCall.last = x.detach().clone()
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * SineThatRemembersTheLastCall.last.cos()


class Rows(Function):
    """Each row times a vector, summed; batches by a rule of its own."""

    @staticmethod
    def forward(x, w):
        return (x * w).sum(-1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g[..., None] * w, (g[..., None] * x).sum(tuple(range(x.dim() - 1)))

    @staticmethod
    def vmap(info, in_dims, x, w):
        count = info.batch_size
        x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x.expand(count, *x.shape)
        w = w.movedim(in_dims[1], 0) if in_dims[1] is not None else w.expand(count, *w.shape)
        return (x * w[:, None]).sum(-1), 0


class RowsBatchedAlongTheFirstAxis(Rows):
    """The examples are looked for along the first axis, wherever they lie."""

    @staticmethod
    def vmap(info, in_dims, x, w):
        x = x if in_dims[0] is not None else x.expand(info.batch_size, *x.shape)
        w = w if in_dims[1] is not None else w.expand(info.batch_size, *w.shape)
        return (x * w[:, None]).sum(-1), 0


class RowsBatchedWithOneVector(Rows):
    """Every example gets the first one's vector."""

    @staticmethod
    def vmap(info, in_dims, x, w):
        x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x.expand(info.batch_size, *x.shape)
        w = w.movedim(in_dims[1], 0)[0] if in_dims[1] is not None else w
        return (x * w).sum(-1), 0


class SineAndCosine(Function):
    """Two outputs; what is not used has no cotangent."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        if h is None:
            return g * x.cos()
        return -h * x.sin() if g is None else g * x.cos() - h * x.sin()


class SineAndCosineWithAWrongBranch(SineAndCosine):
    """Wrong where the cosine is not used."""

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * x.sin() if h is None else SineAndCosine.backward(ctx, g, h)


class SineAndCosineThatNeedBoth(SineAndCosine):
    """Raises where one of the two is not used."""

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * x.cos() - h * x.sin()


SQUARE_MATRICES = (MATRIX[:, :2], OTHER[:2])


class SquareUsedUp(Square):
    """The first backward uses up what was saved."""

    @staticmethod
    def forward(ctx, x):
        ctx.twice = 2 * x.detach()
        return x * x

    @staticmethod
    def backward(ctx, g):
        return ctx.twice.mul_(g)


COUNT = [0]


class SquareThatCounts(Square):
    """The gradient changes with each call, in its last digits."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        COUNT[0] += 1
        return 2 * g * x * (1 + 1e-12 * COUNT[0])


class SquareByDtype(Square):
    """Another formula for float32."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x if x.dtype == torch.float32 else 2 * g * x


def _planted(
    name: str, group: str, wrong: Any, right: Any, codes: str, mistake: Mistake, inputs: tuple[Any, ...] = (MATRIX,)
) -> Planted:
    return Planted(name, group, wrong.apply, right.apply, frozenset(codes.split()), mistake, inputs, "torch")


_BATCH = torch.tensor([[0.0, 1.25, -2.0], [3.0, 0.0, 0.5], [1.0, -1.0, 2.0]])
_VECTORS = (OTHER, MATRIX[0, :2])
_PAIR = (MATRIX, OTHER)
_DOUBLE = (MATRIX.double(),)
_SQUARES = (torch.tensor(SQUARE), torch.tensor(OTHER_SQUARE))
PLANTED = (
    _planted("factor", "numeric", SquareWithoutItsFactor, Square, "GC101", Mistake.FACTOR),
    _planted("transposition forgotten", "reduction and broadcasting", SquareProduct, Product, "GC101",
             Mistake.TRANSPOSED, _SQUARES),
    _planted("strided cotangent as contiguous", "layout of cotangent", SquareThatReadsMemory, Square, "GC301",
             Mistake.LAYOUT),
    _planted("float32 inside", "dtype", SineInFloat32, Sine, "GC701", Mistake.PRECISION, _DOUBLE),
    _planted("float32 in backward", "dtype", SineWithAFloat32Gradient, Sine, "GC701", Mistake.PRECISION, _DOUBLE),
    _planted("float32 buffer", "dtype", SineInAFloat32Buffer, SineOfAMultiple, "GC701", Mistake.PRECISION, _DOUBLE),
    _planted("float32 through NumPy", "dtype", SineThroughNumPysFloat32, Sine, "GC701", Mistake.PRECISION, _DOUBLE),
    _planted("float32 path", "dtype", SquareByDtype, Square, "GC702", Mistake.PRECISION),
    _planted("absolute cotangent", "linearity in the cotangent", SquareOfThePositive, Square, "GC101 GC103",
             Mistake.COTANGENT),
    _planted("input doubled in place", "mutation of input", DoubledInPlace, Doubled, "GC203", Mistake.MUTATION),
    _planted("cotangent scaled in place", "mutation of cotangent", SquareThatScalesItsCotangent, Square, "GC203",
             Mistake.MUTATION),
    _planted("gradients added up in a buffer", "saved state", SineWithASharedBuffer, Sine, "GC601", Mistake.STATE),
    _planted("last call remembered", "saved state", SineThatRemembersTheLastCall, Sine, "GC602", Mistake.STATE),
    _planted("used up", "saved state", SquareUsedUp, Square, "GC605", Mistake.STATE),
    _planted("a count of calls", "non-determinism", SquareThatCounts, Square, "GC605", Mistake.RANDOM),
    _planted("batched along the first axis", "vmap rule", RowsBatchedAlongTheFirstAxis, Rows, "GC105",
             Mistake.BATCHING_RULE, (_BATCH, MATRIX[1])),
    _planted("batched with one vector", "vmap rule", RowsBatchedWithOneVector, Rows, "GC105", Mistake.BATCHING_RULE,
             _VECTORS),
    _planted("gradient in the wrong slot", "activity", ProductInTheWrongSlot, Product, "GC603", Mistake.SUBSET,
             SQUARE_MATRICES),
    _planted("flag of another input", "activity", ProductWithTheWrongFlag, Product, "GC603", Mistake.SUBSET, _PAIR),
    _planted("variable of another branch", "activity", ProductWithAVariableOfTheOtherBranch, Product, "GC603",
             Mistake.SUBSET, _PAIR),
    _planted("wrong branch for None", "multi-output and None", SineAndCosineWithAWrongBranch, SineAndCosine, "GC604",
             Mistake.OUTPUT),
    _planted("no branch for None", "multi-output and None", SineAndCosineThatNeedBoth, SineAndCosine, "GC604",
             Mistake.OUTPUT),
)  # fmt: skip
"""Those of the mistakes of all engines that are called the same are left out for PyTorch."""
