"""Random numbers: reproducible from a seed, in the right range, dtype and place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import refengine as re

FUNCTIONS = {
    "rand": lambda lib, **kw: lib.rand(50, **kw),
    "randn": lambda lib, **kw: lib.randn(50, **kw),
    "randint": lambda lib, **kw: lib.randint(1000, (50,), **kw),
    "randperm": lambda lib, **kw: lib.randperm(50, **kw),
    "bernoulli": lambda lib, **kw: lib.bernoulli(lib.full((50,), 0.5), **kw),
    "normal_": lambda lib, **kw: lib.zeros(50).normal_(**kw),
    "uniform_": lambda lib, **kw: lib.zeros(50).uniform_(**kw),
    "bernoulli_": lambda lib, **kw: lib.zeros(50).bernoulli_(**kw),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_the_same_seed_gives_the_same_numbers(lib: Any, function: Any) -> None:
    lib.manual_seed(5)
    first, second = function(lib).tolist(), function(lib).tolist()
    lib.manual_seed(5)
    assert function(lib).tolist() == first
    assert first != second


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_a_generator_leaves_the_default_one_alone(lib: Any, function: Any) -> None:
    before = lib.get_rng_state().tolist()
    generator = lib.Generator()
    generator.manual_seed(5)
    first = function(lib, generator=generator).tolist()
    generator.manual_seed(5)
    assert function(lib, generator=generator).tolist() == first
    assert lib.get_rng_state().tolist() == before


def test_a_state_can_be_restored(lib: Any) -> None:
    lib.randint(10, (3,), dtype=lib.int32)  # leaves half a word in NumPy's generator
    state = lib.get_rng_state()
    first = lib.rand(5).tolist()
    lib.set_rng_state(state)
    assert lib.rand(5).tolist() == first


def test_a_restored_state_remembers_its_seed(lib: Any) -> None:
    generator = lib.Generator().manual_seed(42)
    state = generator.get_state()
    generator.manual_seed(7)
    generator.set_state(state)
    assert generator.initial_seed() == 42


def test_seed_takes_a_new_one_each_time(lib: Any) -> None:
    generator = lib.Generator()
    assert generator.seed() != generator.seed()
    assert generator.initial_seed() == generator.initial_seed()


@pytest.mark.parametrize("seed", [0, -1, 2**64 - 1, 2**63])
def test_any_64_bit_seed_will_do(lib: Any, seed: int) -> None:
    generator = lib.Generator()
    generator.manual_seed(seed)
    state = generator.get_state()
    first = lib.rand(3, generator=generator).tolist()
    generator.set_state(state)
    assert lib.rand(3, generator=generator).tolist() == first


def test_what_is_no_state_is_refused(lib: Any) -> None:
    with pytest.raises((TypeError, RuntimeError)):
        lib.set_rng_state(lib.zeros(3))


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_rand_stays_below_one(lib: Any, name: str) -> None:
    lib.manual_seed(0)
    values = lib.rand(20_000, dtype=getattr(lib, name)).numpy()
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.astype(np.float64).mean() - 0.5) < 0.02


def test_randn_is_standard_normal(lib: Any) -> None:
    lib.manual_seed(0)
    values = lib.randn(20_000, dtype=lib.float64).numpy()
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03


def test_complex_numbers_have_variance_one_in_all(lib: Any) -> None:
    lib.manual_seed(0)
    values = lib.randn(20_000, dtype=lib.complex128).numpy()
    assert abs((np.abs(values) ** 2).mean() - 1) < 0.05
    assert lib.rand(2, dtype=lib.complex64).dtype is lib.complex64


def test_randint_covers_its_range(lib: Any) -> None:
    values = lib.randint(-2, 3, (1000,))
    assert values.dtype is lib.int64
    assert set(values.tolist()) == {-2, -1, 0, 1, 2}


def test_randperm_is_a_permutation(lib: Any) -> None:
    assert sorted(lib.randperm(20).tolist()) == list(range(20))


def test_likes_take_shape_and_dtype(lib: Any) -> None:
    x = lib.zeros(2, 3, dtype=lib.float64)
    for y in (lib.rand_like(x), lib.randn_like(x)):
        assert tuple(y.shape) == (2, 3)
        assert y.dtype is lib.float64
    assert lib.randn_like(x, dtype=lib.float32).dtype is lib.float32


def test_new_tensors_can_require_grad(lib: Any) -> None:
    assert lib.randn(2, requires_grad=True).is_leaf
    assert lib.rand(2, requires_grad=True).requires_grad


def test_fills_refuse_a_leaf_that_requires_grad(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="leaf"):
        lib.zeros(2, requires_grad=True).normal_()


def test_fills_count_as_writes(lib: Any) -> None:
    x = lib.zeros(2)
    assert x.uniform_(2.0, 3.0) is x
    assert x._version == 1
    assert x.min().item() >= 2.0


def test_what_was_filled_passes_no_gradient(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    y = x * 3
    y.normal_()
    (y * 2).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.randint(3, 3, (2,)),
        lambda lib: lib.zeros(2).normal_(0.0, -1.0),
        lambda lib: lib.zeros(2).uniform_(1.0, 0.0),
        lambda lib: lib.zeros(2).bernoulli_(1.5),
        lambda lib: lib.bernoulli(lib.full((2,), 2.0)),
    ],
    ids=["randint", "normal_", "uniform_", "bernoulli_", "bernoulli"],
)
def test_impossible_ranges_are_refused(lib: Any, call: Any) -> None:
    with pytest.raises(RuntimeError):
        call(lib)


@pytest.mark.parametrize("name", ["rand", "randn"])
def test_integers_are_no_dtype_for_real_numbers(lib: Any, name: str) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        getattr(lib, name)(2, dtype=lib.int64)


def test_a_generator_says_its_seed() -> None:
    assert repr(re.Generator().manual_seed(3)) == "<Generator on cpu, seed 3>"
