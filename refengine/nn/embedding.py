"""Embedding: a learned row for each of a number of things."""

from __future__ import annotations

from refengine import creation
from refengine.creation import Device, DType
from refengine.errors import ShapeError
from refengine.nn import functional, init
from refengine.nn.module import Module
from refengine.nn.parameter import Parameter
from refengine.ops.gathering import PaddingError
from refengine.tensor import Tensor


class Embedding(Module):
    """Looks up rows by their numbers.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        How many rows there are, and how long they are.
    padding_idx : int, optional
        This row is zeros at first and gets no gradient.
    max_norm, norm_type, scale_grad_by_freq, sparse
        As those of `functional.embedding`.

    Raises
    ------
    PaddingError
        If there is no row `padding_idx`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise PaddingError(f"Embedding: expected padding_idx to name one of {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        values = creation.empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
        self.weight = Parameter(values if _weight is None else _weight, requires_grad=not _freeze)
        if tuple(self.weight.shape) != (num_embeddings, embedding_dim):
            raise ShapeError(f"Embedding: expected a weight of shape {(num_embeddings, embedding_dim)}")
        if _weight is None:
            self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A module with given rows, which are not trained unless `freeze` is False."""
        if embeddings.ndim != 2:
            raise PaddingError("Embedding: expected embeddings with 2 dimensions")
        rows, columns = embeddings.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def reset_parameters(self) -> None:
        """Draw the rows anew from the standard normal distribution."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, x: Tensor) -> Tensor:
        """Integers of any shape → (*shape, embedding_dim)."""
        return functional.embedding(
            x, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name, default in (
            ("padding_idx", None),
            ("max_norm", None),
            ("norm_type", 2.0),
            ("scale_grad_by_freq", False),
        ):
            value = getattr(self, name)
            parts += [] if value == default else [f"{name}={value}"]
        return ", ".join([*parts, "sparse=True"] if self.sparse else parts)
