"""Mistakes in JAX's rules: custom_vjp made of formulas that all engines share, and what only JAX has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradcheck.mistake import Mistake
from tests.planted import jax_library
from tests.planted.formulas import MATRIX, OTHER
from tests.planted.jax_library import Tensor, bare
from tests.planted.mistake import Rules


class JaxRules(Rules):
    """Rules as custom_vjp."""

    is_eager = False

    def __init__(self) -> None:
        super().__init__(jax_library, "jax")

    def function(self, name: str, forward: Callable[..., Any], backward: Callable[..., Any], **more: Any) -> Any:
        """A custom_vjp that keeps its inputs: ``forward(*inputs)``, ``backward(g..., *inputs)``."""

        def run(*inputs: Any) -> Any:
            return bare(forward(*map(Tensor, inputs)))

        def pull(inputs: Any, cotangent: Any) -> Any:
            cotangents = cotangent if isinstance(cotangent, tuple) else (cotangent,)
            found = bare(backward(*map(Tensor, cotangents), *map(Tensor, inputs)))
            return found if isinstance(found, tuple) else (found,)

        run.__name__ = run.__qualname__ = name
        return with_rules(run, lambda *inputs: (run(*inputs), inputs), pull)

    def plant(self, name: str, group: str, wrong: Any, right: Any, codes: str, mistake: Mistake, inputs: Any,
              **more: Any) -> None:  # fmt: skip
        """Add a mistake; the inputs become arrays."""
        super().plant(name, group, wrong, right, codes, mistake, bare(inputs), **more)


def with_rules(run: Callable[..., Any], forward: Callable[..., Any], backward: Callable[..., Any], **more: Any) -> Any:
    """A custom_vjp."""
    made = jax.custom_vjp(run)
    made.defvjp(forward, backward, **more)
    return made


def orders(rules: JaxRules) -> None:
    """Wrong when differentiated again."""
    x = jax_library.tensor(MATRIX)
    rules.plant(
        "stopped", "second order",
        rules.function("Stopped", lambda x: x * x * x, lambda g, x: 3 * g * x.detach() * x.detach()),
        rules.function("StoppedMended", lambda x: x * x * x, lambda g, x: 3 * g * x * x),
        "GC104 GC106", Mistake.SECOND_ORDER, (x,), is_differentiated_again=True,
    )  # fmt: skip


def forwards(rules: JaxRules) -> None:
    """Rules of custom_jvp, from which JAX makes both modes."""
    x, y = jax_library.tensor(MATRIX), jax_library.tensor(OTHER)

    def product(push: Callable[..., Any]) -> Any:
        @jax.custom_jvp
        def times(x: Any, y: Any) -> Any:
            return x * y

        times.defjvp(lambda primals, tangents: (primals[0] * primals[1], push(*primals, *tangents)))
        return times

    right = product(lambda x, y, t, u: t * y + x * u)
    group = "forward-mode rule"
    rules.plant("tangent without its factor", group, product(lambda x, y, t, u: (t * y + x * u) / 2), right,
                "GC101", Mistake.FACTOR, (x, y))  # fmt: skip
    rules.plant("tangent ignored", group, product(lambda x, y, t, u: t * y), right, "GC101", Mistake.ZERO, (x, y))


def batches(rules: JaxRules) -> None:
    """Rules of custom_vmap."""
    x, y = jax_library.tensor(MATRIX), jax_library.tensor(OTHER)

    def product(rule: Callable[..., Any]) -> Any:
        @jax.custom_batching.custom_vmap
        def times(x: Any, y: Any) -> Any:
            return x * y

        times.def_vmap(rule)
        return with_rules(times, lambda x, y: (times(x, y), (x, y)), lambda kept, g: (g * kept[1], g * kept[0]))

    def right(size: int, batched: Any, x: Any, y: Any) -> Any:
        return x * y, True

    def with_the_first(size: int, batched: Any, x: Any, y: Any) -> Any:
        return x * (y[:1] if batched[1] else y), True

    def reversed_(size: int, batched: Any, x: Any, y: Any) -> Any:
        return (x * y)[::-1] if all(batched) else x * y, True

    for name, wrong in (("batched with the first", with_the_first), ("batch reversed", reversed_)):
        rules.plant(name, "vmap rule", product(wrong), product(right), "GC105", Mistake.BATCHING_RULE, (x, y))


def zeros(rules: JaxRules) -> None:
    """What a rule makes of symbolic zeros: outputs that are not used, inputs that are not differentiated."""
    x, y = jax_library.tensor(MATRIX), jax_library.tensor(OTHER)
    is_zero = lambda g: isinstance(g, jax.custom_derivatives.SymbolicZero)  # noqa: E731

    def waves(pull: Callable[..., Any]) -> Any:
        def forward(x: Any) -> Any:
            return (jnp.sin(x.value), jnp.cos(x.value)), x.value

        def backward(x: Any, cotangents: Any) -> Any:
            return (pull(*(None if is_zero(g) else g for g in cotangents), x),)

        return with_rules(lambda x: (jnp.sin(x), jnp.cos(x)), forward, backward, symbolic_zeros=True)

    def right(g: Any, h: Any, x: Any) -> Any:
        first = 0.0 * x if g is None else g * jnp.cos(x)
        return first if h is None else first - h * jnp.sin(x)

    rules.plant(
        "wrong branch for a symbolic zero", "multi-output and None",
        waves(lambda g, h, x: g * jnp.sin(x) if h is None else right(g, h, x)), waves(right),
        "GC604", Mistake.OUTPUT, (x,),
    )  # fmt: skip

    def product(pull: Callable[..., Any]) -> Any:
        def forward(x: Any, y: Any) -> Any:
            return x.value * y.value, (x.value, y.value, (x.perturbed, y.perturbed))

        return with_rules(lambda x, y: x * y, forward, lambda kept, g: pull(g, *kept), symbolic_zeros=True)

    def in_one_place(g: Any, x: Any, y: Any, wanted: Any) -> Any:
        return g * y, g * x if wanted[0] else jnp.zeros_like(y)

    rules.plant(
        "perturbed flag of another input", "activity", product(in_one_place),
        product(lambda g, x, y, wanted: (g * y, g * x)), "GC603", Mistake.SUBSET, (x, y),
    )  # fmt: skip


ALL = (orders, forwards, batches, zeros)
