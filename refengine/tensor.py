"""A Tensor: a strided look at a storage, plus autograd metadata. No op code; `derive.py` adds the operations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

from refengine import devices, dtypes, layout
from refengine.backends.base import Array, Backend
from refengine.backends.numpy import BACKEND as NUMPY
from refengine.errors import ArgumentError, AutogradError, DeviceError, DTypeError, ShapeError
from refengine.methods import TensorMethods
from refengine.storage import Storage

BACKENDS: Final[dict[type, Backend]] = {NUMPY.array_type: NUMPY}
"""Backends by the type of their arrays; `register_backend` adds to it."""
DEVICES: Final[dict[str, Backend]] = {"cpu": NUMPY}


def register_backend(backend: Backend) -> None:
    """Make a backend known under its array type and device name.

    Raises
    ------
    ArgumentError
        If one of them is taken already.
    """
    if backend.array_type in BACKENDS or backend.name in DEVICES:
        raise ArgumentError(f"register_backend: {backend.name!r} or its array type is registered already")
    BACKENDS[backend.array_type] = backend
    DEVICES[backend.name] = backend


class View:
    """How a tensor looks at its base.

    Attributes
    ----------
    base : Tensor
        The tensor whose memory it is, never itself a view.
    chain : tuple
        The view ops, with their parameters, that lead from base to here.
    version : int
        The storage's version when this view's place in the graph was last worked out.
    without_grad : bool
        Whether it was made while gradients were off, which forbids recorded in-place operations on it.
    of_several : bool
        Whether it, or what it is a view of, is one of the views that one function returned, which forbids them too.
    """

    __slots__ = ("base", "chain", "of_several", "version", "without_grad")

    def __init__(self, base: Tensor, chain: tuple[Any, ...], version: int, without_grad: bool) -> None:
        self.base, self.chain, self.version, self.without_grad = base, chain, version, without_grad
        self.of_several = False


class Extra:
    """What few tensors have: hooks, a retained gradient, a forward-mode tangent."""

    __slots__ = ("hooks", "post_hooks", "retains", "tangent")

    def __init__(self) -> None:
        self.hooks: OrderedDict[int, Callable[[Tensor], Tensor | None]] = OrderedDict()
        self.post_hooks: OrderedDict[int, Callable[[Tensor], None]] = OrderedDict()
        self.retains = False
        self.tangent: Tensor | None = None


class Tensor(TensorMethods):
    """An n-dimensional array that remembers how it was computed.

    `array` is the backend's own strided array; shape, strides and offset are read from it. `node` is what made the
    tensor (None for leaves), `tracked` whether gradients flow to it; both may be out of date on a view whose base was
    written to, so outside the engine read `grad_fn` and `requires_grad`.
    """

    __slots__ = ("__dict__", "__weakref__", "_grad", "array", "extra", "node", "storage", "tracked", "view_of")

    array: Array
    storage: Storage
    node: Any
    tracked: bool
    _grad: Tensor | None
    view_of: View | None
    extra: Extra | None

    def __init__(self, array: Array, storage: Storage | None = None, requires_grad: bool = False) -> None:
        self.array = array
        self.storage = Storage(array, BACKENDS[type(array)]) if storage is None else storage
        self.node = None
        self.tracked = False
        self._grad = None
        self.view_of = None
        self.extra = None
        if requires_grad:
            self.requires_grad = True

    # --- metadata -------------------------------------------------------------------------------------------------

    @property
    def backend(self) -> Backend:
        return BACKENDS[type(self.array)]

    @property
    def shape(self) -> layout.Size:
        return layout.Size(self.array.shape)

    @property
    def ndim(self) -> int:
        return int(self.array.ndim)

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.of(self.array.dtype)

    @property
    def device(self) -> devices.device:
        return devices.of(self.backend.name)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.itemsize

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its sizes."""
        return self.shape if dim is None else self.shape[layout.axis(dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self.array.size)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements, or one of them."""
        shape = tuple(self.array.shape)
        strides = layout.contiguous_strides(shape) if 0 in shape else self.backend.strides(self.array)
        return strides if dim is None else strides[layout.axis(dim, self.ndim)]

    def storage_offset(self) -> int:
        """Elements between the start of the storage and the first element."""
        return (self.data_ptr() - self.storage.data_ptr()) // self.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self.backend.address(self.array)

    def untyped_storage(self) -> Storage:
        """The memory that this tensor and all its views share."""
        return self.storage

    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps; no elements always do."""
        return 0 in self.array.shape or layout.is_contiguous(self.array.shape, self.backend.strides(self.array))

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self.dtype.is_complex

    # --- autograd metadata ----------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        self.sync()
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self.is_leaf:
            if value:
                return
            raise AutogradError("requires_grad: can only be changed on leaf tensors; use detach() to leave the graph")
        if value and not self.dtype.is_differentiable:
            raise DTypeError(
                f"requires_grad: only floating and complex tensors can require gradients, got {self.dtype}"
            )
        self.tracked = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`; returns the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether nothing recorded made it."""
        self.sync()
        return self.node is None

    @property
    def grad_fn(self) -> Any:
        """The node that made it; None for a leaf."""
        self.sync()
        return None if self.node is None else self.node.target

    @property
    def output_nr(self) -> int:
        """Which output of its `grad_fn` it is."""
        self.sync()
        return 0 if self.node is None else int(self.node.number)

    @property
    def _version(self) -> int:
        return self.storage.version

    @property
    def _base(self) -> Tensor | None:
        return None if self.view_of is None else self.view_of.base

    def _is_view(self) -> bool:
        return self.view_of is not None

    @property
    def grad(self) -> Tensor | None:
        """What backward passes have accumulated.

        Raises
        ------
        ArgumentError, AutogradError, DTypeError, ShapeError
            On assignment of what is no tensor, the tensor itself, or of another device, dtype or shape.
        """
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if value is self:
                raise AutogradError("grad: a tensor can't be its own gradient")
            if value.backend is not self.backend:
                raise DeviceError(f"grad: expected a tensor on {self.device}, got one on {value.device}")
            if value.dtype is not self.dtype:
                raise DTypeError(f"grad: expected the tensor's dtype {self.dtype.name}, got {value.dtype.name}")
            if value.shape != self.shape:
                raise ShapeError(f"grad: expected the tensor's shape {tuple(self.shape)}, got {tuple(value.shape)}")
        self._grad = value

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad()` was called on a non-leaf."""
        return self.extra is not None and self.extra.retains and self.node is not None

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph, with a version counter of its own."""
        return Tensor(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if self.tracked and not value.dtype.is_differentiable:
            raise DTypeError(f"data: expected a floating or complex tensor, as it requires grad, got {value.dtype}")
        self.array, self.storage = value.array, value.storage

    def detach(self) -> Tensor:
        """The same memory and version counter outside the graph, without a forward-mode tangent."""
        return Tensor(self.array, self.storage)

    def detach_(self) -> Tensor:
        """Leave the graph; returns the tensor itself. Views made before stay in it.

        Raises
        ------
        AutogradError
            If the tensor is a view.
        """
        if self.view_of is not None:
            raise AutogradError("detach_: can't detach a view in place; use detach()")
        self.node, self.tracked = None, False
        if self.extra is not None:
            self.extra.retains = False
        return self

    def extras(self) -> Extra:
        """The rare metadata, made at first use."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def sync(self) -> None:
        """Bring a view's place in the graph up to date after its base or another view was written to."""
        view = self.view_of
        if view is not None and view.version != self.storage.version:
            REPLAY[0](self, view)

    # --- to and from Python ---------------------------------------------------------------------------------------

    def numpy(self) -> Any:
        """The values as a NumPy array that shares the memory.

        Raises
        ------
        AutogradError
            If the tensor requires grad.
        """
        if self.requires_grad:
            raise AutogradError("numpy: can't be called on a tensor that requires grad; use detach().numpy()")
        return self.backend.to_host(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        values = self.numpy()
        return values.astype(dtype) if dtype is not None else (values.copy() if copy else values)

    def item(self) -> Any:
        """The single value as a Python number."""
        if self.numel() != 1:
            raise AutogradError(
                f"item: a tensor with {self.numel()} elements cannot be converted to a number; index it first"
            )
        return self.backend.to_host(self.array).item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self.backend.to_host(self.array).tolist()

    def __len__(self) -> int:
        if not self.ndim:
            raise ArgumentError("len: a 0-d tensor has no length")
        return int(self.array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise ArgumentError("iteration over a 0-d tensor; use item()")
        return iter(self.unbind(0))

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, (Tensor, bool, int, float, complex)):
            raise AutogradError(f"in: expected a Tensor or a number on the left, got {type(value).__name__}")
        return bool((self == value).any())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.category > dtypes.INTEGER or self.numel() != 1:
            raise ArgumentError(
                f"index: only integer tensors of one element can be an index, got {self.dtype} of shape {self.shape}"
            )
        return int(self.item())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return PRINT[0](self)

    def __copy__(self) -> Tensor:
        """A leaf over the same memory, with a version counter of its own and the same attributes."""
        result = type(self).__new__(type(self))
        Tensor.__init__(result, self.array, requires_grad=self.requires_grad)
        result.__dict__.update(self.__dict__)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise AutogradError("deepcopy: only leaf tensors can be copied with their graph; detach() first")
        result = type(self).__new__(type(self))
        Tensor.__init__(result, self.backend.xp.copy_dense(self.array), requires_grad=self.tracked)
        result.__dict__.update(self.__dict__)
        memo[id(self)] = result
        if self._grad is not None:
            result._grad = self._grad.__deepcopy__(memo)
        return result

    def __reduce__(self) -> Any:
        """Pickled are the values, with the order of the axes in memory, and `requires_grad`; the history is not."""
        if self.backend is not NUMPY:
            raise DeviceError(f"pickle: expected a tensor on the CPU, got one on {self.device}; use cpu()")
        strides = self.backend.strides(self.array)
        order = sorted(range(self.ndim), key=lambda axis: -strides[axis])
        memory = self.backend.copy(self.array.transpose(order))
        return _unpickled, (type(self), memory, tuple(order), self.requires_grad, self.__dict__)


def _unpickled(kind: type[Tensor], memory: Array, order: layout.Shape, requires_grad: bool, attributes: Any) -> Tensor:
    """What `Tensor.__reduce__` describes."""
    result = kind.__new__(kind)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    Tensor.__init__(result, memory.transpose(inverse), requires_grad=requires_grad)
    result.__dict__.update(attributes)
    return result


REPLAY: list[Callable[[Tensor, View], None]] = []
"""Set by autograd/inplace.py: works out a stale view's node anew."""
PRINT: list[Callable[[Tensor], str]] = []
"""Set by printing.py: how a tensor prints."""


def backend_of(array: Array) -> Backend:
    """The backend of an array."""
    return BACKENDS[type(array)]


def backend_at(device: str | devices.device | None) -> Backend:
    """The backend of a device; None is the CPU.

    Raises
    ------
    DeviceError
        If there is none of that type.
    """
    wanted = devices.of(device)
    found = DEVICES.get(str(wanted)) or DEVICES.get(wanted.type)
    if found is None:
        raise DeviceError(
            f"device: expected one of {', '.join(DEVICES)}, got {str(wanted)!r}; its backend is not registered here"
        )
    return found
