"""Matrix products, transposition, triangles."""

from __future__ import annotations

from typing import Any, ClassVar

from refengine import layout
from refengine.backends.base import Array, Namespace
from refengine.errors import ArgumentError, ShapeError
from refengine.layout import Shape
from refengine.op import Composite, Op, Single
from refengine.operand import same_dtype
from refengine.recording import Bound
from refengine.spec import Call, Draw, Interval, Operand
from refengine.tensor import Tensor

SMALL = Interval(-5.0, 5.0)
SIZES = (2, 1, 3, 0)
"""Sizes of the axes that a second operand brings, when programs are drawn."""


class Product(Op):
    """A matrix product: the last axis of x with the last but one of y, or with the only one."""

    group = "linalg"
    inputs = ("x", "y")
    structure = "multilinear"
    domains = (SMALL, SMALL)
    ranks: ClassVar[tuple[int, int] | None] = None
    min_ndim = 1

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Nothing is promoted."""
        return same_dtype(self, operands)

    def bind(self, x: Shape, y: Shape) -> dict[str, Any]:
        if self.ranks is not None and (len(x), len(y)) != self.ranks:
            raise ShapeError(
                f"{self.name}: expected a {self.ranks[0]}-d and a {self.ranks[1]}-d tensor, "
                f"got shapes {tuple(x)} and {tuple(y)}"
            )
        return product(self.name, tuple(x), tuple(y))

    def forward(self, xp: Namespace, x: Array, y: Array) -> Array:
        return xp.matmul(x, y)

    def vjp_x(self, xp: Namespace, g: Array, y: Array, *, full: Shape, x_shape: Shape, y_matrix: Shape) -> Array:
        grad = xp.matmul(xp.reshape(xp.dense(g), full), xp.reshape(y, y_matrix).mT)
        return xp.reshape(xp.sum_to(grad, x_shape), x_shape)

    def vjp_y(
        self, xp: Namespace, g: Array, x: Array, *, full: Shape, x_matrix: Shape, y_matrix: Shape, y_shape: Shape
    ) -> Array:
        g = xp.reshape(xp.dense(g), full)
        x = xp.reshape(x, x_matrix)
        if len(y_matrix) == 2 and len(x_matrix) > 2:
            x = xp.reshape(x, flat(x_matrix))
            g = xp.reshape(g, flat(full))
        return xp.reshape(xp.sum_to(xp.matmul(x.mT, g), y_matrix), y_shape)


def product(name: str, x: Shape, y: Shape) -> dict[str, Shape]:
    """Shapes with one-dimensional operands as matrices: of x, of y and of the result.

    Raises
    ------
    ShapeError
        If the operands do not fit.
    """
    if not x or not y:
        raise ShapeError(
            f"{name}: expected operands with at least 1 dimension, got shapes {x} and {y}; use * for scalars"
        )
    x_matrix = x if len(x) > 1 else (1, *x)
    y_matrix = y if len(y) > 1 else (*y, 1)
    if x_matrix[-1] != y_matrix[-2]:
        raise ShapeError(
            f"{name}: expected the last size of x to be {y_matrix[-2]}, the number of rows of y, got shapes {x} and {y}"
        )
    batch = layout.broadcast(x_matrix[:-2], y_matrix[:-2])
    full = (*batch, x_matrix[-2], y_matrix[-1])
    return {"full": full, "x_shape": x, "y_shape": y, "x_matrix": x_matrix, "y_matrix": y_matrix}


def flat(shape: Shape) -> Shape:
    """The shape with all axes but the last as one."""
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows, shape[-1]


class Matmul(Product):
    """Return the matrix product: vectors are rows on the left and columns on the right, batches broadcast.

    Raises
    ------
    ShapeError
        If the inner sizes differ, or an operand is 0-d.
    """

    def run(self, operands: tuple[Any, ...], bound: Bound) -> Tensor:
        """Recorded under the name of the special case, as PyTorch does."""
        special = SPECIAL.get((operands[0].array.ndim, operands[1].array.ndim))
        return super().run(operands, bound) if special is None else special.run(operands, bound)

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A matrix, a vector, a batch of matrices that broadcasts; in either order."""
        kind = draw.choice(("matrix", "vector", "batch", "left"))
        inner = x.shape[-1]
        if kind == "vector":
            return Call((x, draw.operand((inner,), SMALL)))
        if kind == "left":
            rows = x.shape[-2] if x.ndim > 1 else inner
            return Call((draw.operand((draw.choice(SIZES), rows), SMALL), x))
        batch = x.shape[:-2] if kind == "batch" else ()
        if kind == "batch" and draw.boolean():
            batch = tuple(1 if draw.boolean() else size for size in batch) if batch else (2,)
        return Call((x, draw.operand((*batch, inner, draw.choice(SIZES)), SMALL)))


class Mm(Product):
    """Return the product of two matrices."""

    ranks = (2, 2)

    def accepts(self, shape: Shape) -> bool:
        """Matrices only."""
        return len(shape) == 2

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Another matrix."""
        return Call((x, draw.operand((x.shape[1], draw.choice(SIZES)), SMALL)))


class Bmm(Product):
    """Return the products of two batches of matrices of equal length; nothing broadcasts."""

    ranks = (3, 3)

    def bind(self, x: Shape, y: Shape) -> dict[str, Any]:
        if len(x) == len(y) == 3 and x[0] != y[0]:
            raise ShapeError(
                f"bmm: expected batches of equal size, got shapes {tuple(x)} and {tuple(y)}; matmul broadcasts"
            )
        return super().bind(x, y)

    def accepts(self, shape: Shape) -> bool:
        """Batches of matrices only."""
        return len(shape) == 3

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Another batch of the same length."""
        return Call((x, draw.operand((x.shape[0], x.shape[2], draw.choice(SIZES)), SMALL)))


class Mv(Product):
    """Return the product of a matrix and a vector."""

    ranks = (2, 1)

    def accepts(self, shape: Shape) -> bool:
        """Matrices only."""
        return len(shape) == 2

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A vector."""
        return Call((x, draw.operand((x.shape[1],), SMALL)))


class Dot(Product):
    """Return the inner product of two vectors; nothing is conjugated."""

    ranks = (1, 1)

    def accepts(self, shape: Shape) -> bool:
        """Vectors only."""
        return len(shape) == 1

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Another vector, or the same."""
        return Call((x, x if draw.integer(0, 3) == 3 else draw.operand(tuple(x.shape), SMALL)))


class Addmm(Op):
    """Return beta * x + alpha * (y @ z) for matrices y and z; x broadcasts. With beta = 0 x is not read."""

    group = "linalg"
    inputs = ("x", "y", "z")
    inplace = True
    domains = (SMALL, SMALL, SMALL)

    def convert(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Nothing is promoted."""
        return same_dtype(self, operands)

    def bind(self, x: Shape, y: Shape, z: Shape, *, beta: Any = 1, alpha: Any = 1) -> dict[str, Any]:
        if len(y) != 2 or len(z) != 2:
            raise ShapeError(f"addmm: expected two matrices, got shapes {tuple(y)} and {tuple(z)}")
        full = product("addmm", tuple(y), tuple(z))["full"]
        if layout.broadcast(tuple(x), full) != full:
            raise ShapeError(f"addmm: expected x to broadcast to {full}, got shape {tuple(x)}")
        return {"beta": beta, "alpha": alpha, "full": full}

    def forward(self, xp: Namespace, x: Array, y: Array, z: Array, *, beta: Any, alpha: Any) -> Array:
        out = xp.matmul(y, z)
        out = out if alpha == 1 else alpha * out
        if beta == 0:
            return out
        return x + out if beta == 1 else beta * x + out

    def vjp_x(self, xp: Namespace, g: Array, *, beta: Any) -> Array:
        return g if beta == 1 else (xp.zeros_like(g) if beta == 0 else g * beta)

    def vjp_y(self, xp: Namespace, g: Array, z: Array, *, alpha: Any) -> Array:
        grad = xp.matmul(xp.dense(g), z.mT)
        return grad if alpha == 1 else grad * alpha

    def vjp_z(self, xp: Namespace, g: Array, y: Array, *, alpha: Any) -> Array:
        grad = xp.matmul(y.mT, xp.dense(g))
        return grad if alpha == 1 else grad * alpha

    def accepts(self, shape: Shape) -> bool:
        """A matrix, or a row that broadcasts (its rows are drawn)."""
        return 1 <= len(shape) <= 2

    def sample(self, draw: Draw, x: Operand) -> Call:
        """Matrices that give x's shape, with and without factors."""
        inner = draw.choice(SIZES)
        rows = x.shape[0] if x.ndim == 2 else draw.choice(SIZES)
        kwargs = {
            name: draw.choice(values)
            for name, values in (("beta", (2, 0.5, 1)), ("alpha", (-1, 0.5, 1)))
            if draw.boolean()
        }
        return Call((x, draw.operand((rows, inner), SMALL), draw.operand((inner, x.shape[-1]), SMALL)), kwargs)


class Outer(Composite):
    """Return the matrix of the products of the entries of two vectors."""

    group = "linalg"
    inputs = ("x", "y")
    structure = "multilinear"
    domains = (SMALL, SMALL)
    aliases = ("ger",)

    def compose(self, x: Any, y: Any) -> Any:
        if x.ndim != 1 or y.ndim != 1:
            raise ShapeError(f"outer: expected two vectors, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
        return x.reshape(x.shape[0], 1) * y

    def accepts(self, shape: Shape) -> bool:
        """Vectors only."""
        return len(shape) == 1

    def sample(self, draw: Draw, x: Operand) -> Call:
        """A vector of any length, or the same."""
        return Call((x, x if draw.integer(0, 3) == 3 else draw.operand((draw.choice(SIZES),), SMALL)))


class T(Composite):
    """Return a view of a matrix with its axes swapped; a vector or a 0-d tensor as it is."""

    group = "linalg"
    view = True
    structure = "linear"

    def compose(self, x: Any) -> Any:
        if x.ndim > 2:
            raise ShapeError(
                f"t: expected a tensor with at most 2 dimensions, got shape {tuple(x.shape)}; use transpose or permute"
            )
        return x.transpose(0, 1) if x.ndim == 2 else x.view(x.shape)

    def accepts(self, shape: Shape) -> bool:
        """At most two axes."""
        return len(shape) <= 2


class Adjoint(Composite):
    """Return the matrices with the last two axes swapped, conjugated where complex; a view where real."""

    group = "linalg"
    structure = "linear"
    min_ndim = 2

    def compose(self, x: Any) -> Any:
        swapped = matrix_transpose(x)
        return swapped.conj() if x.is_complex() else swapped


def matrix_transpose(x: Any) -> Any:
    """``x.mT``: a view with the last two axes swapped."""
    if x.ndim < 2:
        raise ShapeError(f"mT: expected a tensor with at least 2 dimensions, got shape {tuple(x.shape)}")
    return x.transpose(-2, -1)


def reverse_axes(x: Any) -> Any:
    """``x.T``: a view with the axes in reverse order."""
    return x.permute(*range(x.ndim - 1, -1, -1))


class Triangle(Single):
    """Part of the last two axes, zero elsewhere."""

    group = "linalg"
    inplace = True
    min_ndim = 2

    def bind(self, shape: Shape, diagonal: Any = 0) -> dict[str, Any]:
        if len(shape) < 2:
            raise ShapeError(f"{self.name}: expected a tensor with at least 2 dimensions, got shape {tuple(shape)}")
        if not isinstance(diagonal, int):
            raise ArgumentError(f"{self.name}: expected an int, got diagonal={diagonal!r} ({type(diagonal).__name__})")
        return {"k": diagonal}

    def sample(self, draw: Draw, x: Operand) -> Call:
        """The main diagonal and others, beyond the corners too."""
        return Call((x, draw.choice((1, -1, 0, 2, -2))) if draw.boolean() else (x,))


class Tril(Triangle):
    """Return the lower triangles: entries above the diagonal are 0."""

    def forward(self, xp: Namespace, x: Array, *, k: int) -> Array:
        return xp.tril(x, k=k)

    def vjp(self, xp: Namespace, g: Array, *, k: int) -> Array:
        return xp.tril(g, k=k)


class Triu(Triangle):
    """Return the upper triangles: entries below the diagonal are 0."""

    def forward(self, xp: Namespace, x: Array, *, k: int) -> Array:
        return xp.triu(x, k=k)

    def vjp(self, xp: Namespace, g: Array, *, k: int) -> Array:
        return xp.triu(g, k=k)


class Trace(Composite):
    """Return the sum of the diagonal of a matrix."""

    group = "linalg"
    structure = "linear"

    def compose(self, x: Any) -> Any:
        if x.ndim != 2:
            raise ShapeError(f"trace: expected a matrix, got shape {tuple(x.shape)}")
        return x.diagonal().sum()

    def accepts(self, shape: Shape) -> bool:
        """Matrices only."""
        return len(shape) == 2


MM, BMM, MV, DOT = Mm(), Bmm(), Mv(), Dot()
SPECIAL: dict[tuple[int, int], Product] = {(2, 2): MM, (2, 1): MV, (1, 1): DOT}

OPS: tuple[Op, ...] = (Matmul(), MM, BMM, MV, DOT, Addmm(), Outer(), T(), Adjoint(), Tril(), Triu(), Trace())
