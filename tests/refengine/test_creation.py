"""New tensors: values, dtypes and layouts as PyTorch makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import refengine as re
from refengine.errors import DTypeError

Make = Callable[[Any], Any]


def described(tensor: Any) -> tuple[Any, ...]:
    """What a test compares: values, dtype, shape, strides, requires_grad."""
    dtype = str(tensor.dtype).partition(".")[2]
    return tensor.tolist(), dtype, tuple(tensor.shape), tuple(tensor.stride()), tensor.requires_grad


def outcome(make: Make, lib: Any) -> tuple[Any, ...]:
    """What comes out of a call: the tensor described, or the kinds of Python error it raises."""
    try:
        return described(make(lib))
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        kinds = [kind for kind in (RuntimeError, TypeError, ValueError, OverflowError) if isinstance(error, kind)]
        return ("raises", kinds)


CASES: dict[str, Make] = {
    "int": lambda lib: lib.tensor(3),
    "float": lambda lib: lib.tensor(2.5),
    "bool": lambda lib: lib.tensor(True),
    "complex": lambda lib: lib.tensor(1j),
    "list": lambda lib: lib.tensor([1, 2, 3]),
    "mixed ints and floats": lambda lib: lib.tensor([1, 2.5]),
    "mixed bools and ints": lambda lib: lib.tensor([True, 2]),
    "mixed floats and complex": lambda lib: lib.tensor([1.0, 1j]),
    "nested": lambda lib: lib.tensor([[1.0], [2.0]]),
    "tuples": lambda lib: lib.tensor(((1, 2), (3, 4))),
    "empty list": lambda lib: lib.tensor([]),
    "empty nested": lambda lib: lib.tensor([[], []]),
    "range": lambda lib: lib.tensor(range(3)),
    "dtype": lambda lib: lib.tensor([1, 2], dtype=lib.float64),
    "dtype truncates": lambda lib: lib.tensor([1.7, -1.7], dtype=lib.int64),
    "python dtype": lambda lib: lib.tensor([1], dtype=float),
    "requires grad": lambda lib: lib.tensor([1.0], requires_grad=True),
    "scalar of a tensor": lambda lib: lib.tensor([lib.tensor(1.0, dtype=lib.float64), 2]),
    "list of 0-d tensors": lambda lib: lib.tensor([lib.tensor(1), lib.tensor(2)]),
    "numpy float32": lambda lib: lib.tensor(np.ones(2, dtype=np.float32)),
    "numpy float64": lambda lib: lib.tensor(np.ones((2, 1))),
    "numpy int32": lambda lib: lib.tensor(np.arange(3, dtype=np.int32)),
    "numpy uint8": lambda lib: lib.tensor(np.arange(3, dtype=np.uint8)),
    "numpy bool": lambda lib: lib.tensor(np.array([True])),
    "numpy complex": lambda lib: lib.tensor(np.array([1j], dtype=np.complex64)),
    "numpy transposed": lambda lib: lib.tensor(np.arange(6.0).reshape(2, 3).T),
    "numpy scalar": lambda lib: lib.tensor(np.float64(1.5)),
    "list of numpy scalars": lambda lib: lib.tensor([np.float64(1.5), np.float64(2)]),
    "list of numpy arrays": lambda lib: lib.tensor([np.ones(2).tolist(), np.zeros(2).tolist()]),
    "numpy with dtype": lambda lib: lib.tensor(np.ones(2), dtype=lib.float32),
    "ragged": lambda lib: lib.tensor([[1, 2], [3]]),
    "too deep": lambda lib: lib.tensor([[1, 2], 3]),
    "string": lambda lib: lib.tensor("abc"),
    "list of strings": lambda lib: lib.tensor(["a"]),
    "none": lambda lib: lib.tensor(None),
    "int that needs grad": lambda lib: lib.tensor([1], requires_grad=True),
    "dtype by position": lambda lib: lib.tensor([1], lib.float64),
    "too large an int": lambda lib: lib.tensor(2**70, dtype=lib.int64),
    "as_tensor of a list": lambda lib: lib.as_tensor([1.0, 2.0]),
    "as_tensor with dtype": lambda lib: lib.as_tensor(np.arange(2), dtype=lib.float32),
    "zeros": lambda lib: lib.zeros(2, 3),
    "zeros of a tuple": lambda lib: lib.zeros((2, 3), dtype=lib.int64),
    "zeros of a size": lambda lib: lib.zeros(lib.ones(2, 1).shape),
    "zeros 0-d": lambda lib: lib.zeros(()),
    "zeros negative": lambda lib: lib.zeros(-1),
    "ones": lambda lib: lib.ones(2, requires_grad=True),
    "ones bool": lambda lib: lib.ones([2], dtype=lib.bool),
    "full float": lambda lib: lib.full((2,), 1.5),
    "full int": lambda lib: lib.full((2,), 1),
    "full bool": lambda lib: lib.full((2,), True),
    "full complex": lambda lib: lib.full((), 1j),
    "full with dtype": lambda lib: lib.full((1,), 1, dtype=lib.float64),
    "eye": lambda lib: lib.eye(2),
    "eye wide": lambda lib: lib.eye(2, 3, dtype=lib.float64),
    "eye negative": lambda lib: lib.eye(-1),
    "arange": lambda lib: lib.arange(4),
    "arange from": lambda lib: lib.arange(1, 4),
    "arange step": lambda lib: lib.arange(1, 8, 3),
    "arange down": lambda lib: lib.arange(3, -2, -2),
    "arange floats": lambda lib: lib.arange(0.0, 1.0, 0.25),
    "arange float end": lambda lib: lib.arange(2.5),
    "arange empty": lambda lib: lib.arange(0),
    "arange with dtype": lambda lib: lib.arange(3, dtype=lib.float64),
    "arange wrong way": lambda lib: lib.arange(3, 1),
    "arange no step": lambda lib: lib.arange(1, 3, 0),
    "linspace": lambda lib: lib.linspace(0, 1, 5),
    "linspace one": lambda lib: lib.linspace(2, 3, 1),
    "linspace none": lambda lib: lib.linspace(2, 3, 0),
    "linspace ints": lambda lib: lib.linspace(0, 10, 5, dtype=lib.int64),
    "linspace negative": lambda lib: lib.linspace(0, 1, -1),
    "zeros_like": lambda lib: lib.zeros_like(lib.ones(2, dtype=lib.float64)),
    "ones_like with dtype": lambda lib: lib.ones_like(lib.zeros(2), dtype=lib.int64),
    "ones_like requires grad": lambda lib: lib.ones_like(lib.zeros(2), requires_grad=True),
    "full_like": lambda lib: lib.full_like(lib.zeros(2), 3),
    "zeros_like of a transposed one": lambda lib: lib.zeros_like(lib.ones(2, 3, 4).permute(2, 0, 1)),
    "zeros_like of an expanded one": lambda lib: lib.zeros_like(lib.ones(2, 1).expand(2, 3)),
    "zeros_like of a strided one": lambda lib: lib.zeros_like(lib.ones(4, 4)[::2, ::2]),
    "new_zeros": lambda lib: lib.ones(1, dtype=lib.float64).new_zeros(2, 2),
    "new_ones": lambda lib: lib.ones(1, dtype=lib.int64).new_ones((2,)),
    "new_full": lambda lib: lib.ones(1, dtype=lib.int64).new_full((2,), 7),
    "new_tensor": lambda lib: lib.ones(1, dtype=lib.float64).new_tensor([1, 2]),
    "new_tensor with dtype": lambda lib: lib.ones(1).new_tensor([1, 2], dtype=lib.int64),
    "scalar_tensor": lambda lib: lib.scalar_tensor(2),
}


@pytest.mark.parametrize("make", CASES.values(), ids=[name.replace(" ", "-") for name in CASES])
@pytest.mark.filterwarnings("ignore:__array")
def test_it_is_what_pytorch_makes(make: Make) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = outcome(make, re), outcome(make, torch)
    if theirs[0] == "raises":
        assert ours[0] == "raises"
        assert set(theirs[1]) <= set(ours[1])
    else:
        assert ours == theirs


def test_tensor_copies_numpys_memory(lib: Any) -> None:
    values = np.zeros(2)
    made = lib.tensor(values)
    values[0] = 1.0
    assert made.tolist() == [0.0, 0.0]


def test_tensor_of_a_tensor_is_a_new_leaf() -> None:
    source = re.ones(2, requires_grad=True)
    made = re.tensor(source * 2)
    assert made.is_leaf
    assert not made.requires_grad
    assert made.data_ptr() != source.data_ptr()


def test_negative_strides_are_copied_where_pytorch_refuses_them() -> None:
    assert described(re.tensor(np.arange(3.0)[::-1])) == ([2.0, 1.0, 0.0], "float64", (3,), (1,), False)


def test_from_numpy_shares_memory_both_ways(lib: Any) -> None:
    values = np.zeros((2, 3))
    made = lib.from_numpy(values)
    values[0, 1] = 5.0
    made[1, 2] = 7.0
    assert made.tolist() == [[0.0, 5.0, 0.0], [0.0, 0.0, 7.0]]
    assert values[1, 2] == 7.0


def test_from_numpy_keeps_strides_and_dtype(lib: Any) -> None:
    made = lib.from_numpy(np.arange(12, dtype=np.int32).reshape(3, 4).T[::2])
    assert tuple(made.stride()) == (2, 4)
    assert made.dtype is lib.int32


def test_from_numpy_refuses_what_is_no_array(lib: Any) -> None:
    with pytest.raises(TypeError):
        lib.from_numpy([1.0])


def test_from_numpy_refuses_negative_strides(lib: Any) -> None:
    with pytest.raises(ValueError, match="strides"):
        lib.from_numpy(np.arange(3.0)[::-1])


def test_from_numpy_refuses_an_unknown_dtype() -> None:
    with pytest.raises(DTypeError, match="expected one of float64"):
        re.from_numpy(np.array(["a"]))


def test_as_tensor_shares_memory_where_it_can(lib: Any) -> None:
    values = np.zeros(2)
    tensor = lib.ones(2)
    assert lib.as_tensor(tensor) is tensor
    lib.as_tensor(values)[0] = 3.0
    assert values[0] == 3.0
    lib.as_tensor(values, dtype=lib.float32)[1] = 3.0
    assert values[1] == 0.0


def test_the_default_dtype_decides_about_python_floats(lib: Any) -> None:
    before = lib.get_default_dtype()
    try:
        lib.set_default_dtype(lib.float64)
        assert lib.tensor(1.0).dtype is lib.float64
        assert lib.tensor(1j).dtype is lib.complex128
        assert lib.zeros(1).dtype is lib.float64
        assert lib.tensor(1).dtype is lib.int64
    finally:
        lib.set_default_dtype(before)
    assert lib.tensor(1.0).dtype is before


def test_an_integer_default_dtype_raises(lib: Any) -> None:
    with pytest.raises(TypeError):
        lib.set_default_dtype(lib.int64)


def test_an_unknown_device_raises() -> None:
    with pytest.raises(RuntimeError, match="expected one of cpu.*, got 'abacus'"):
        re.zeros(1, device="abacus")


def test_devices_are_named_as_in_pytorch(lib: Any) -> None:
    made = lib.zeros(1, device=lib.device("cpu"))
    assert made.device == lib.device("cpu")
    assert str(made.device) == "cpu"
    assert str(lib.device("cuda:1")) == "cuda:1"


def test_to_returns_the_tensor_itself_where_nothing_changes(lib: Any) -> None:
    x = lib.ones(2)
    assert x.to(lib.float32) is x
    assert x.to("cpu") is x
    assert x.float() is x
    assert x.to(lib.float32, copy=True) is not x


@pytest.mark.parametrize(
    "convert",
    [
        lambda lib, x: x.double(),
        lambda lib, x: x.to(lib.float64),
        lambda lib, x: x.to("cpu", lib.float64),
        lambda lib, x: x.to(dtype=lib.float64, device="cpu"),
        lambda lib, x: x.to(lib.ones(1, dtype=lib.float64)),
        lambda lib, x: x.type_as(lib.ones(1, dtype=lib.float64)),
    ],
    ids=["double", "dtype", "device-dtype", "keywords", "other", "type_as"],
)
def test_conversion_lets_the_gradient_back_in_its_own_dtype(lib: Any, convert: Any) -> None:
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    y = convert(lib, x)
    assert y.dtype is lib.float64
    (y * y).sum().backward()
    assert x.grad.dtype is lib.float32
    assert x.grad.tolist() == [2.0, 4.0]


def test_each_dtype_method_gives_its_dtype(lib: Any) -> None:
    x = lib.tensor([1.7])
    found = [x.double(), x.float(), x.half(), x.long(), x.int(), x.bool(), x.cdouble(), x.cfloat()]
    expected = [lib.float64, lib.float32, lib.float16, lib.int64, lib.int32, lib.bool, lib.complex128, lib.complex64]
    assert [y.dtype for y in found] == expected
    assert x.long().tolist() == [1]


def test_to_refuses_what_is_neither_dtype_nor_device() -> None:
    with pytest.raises(TypeError, match="expected a dtype, a device or a tensor"):
        re.ones(1).to(3.5)
