"""Other inputs for an observed call: what held for every value seen holds for them, all else is tried.

Axes of one size often belong together, so that all of them change together, in integer tensors too. A change that the
function refuses costs little; one that it never meant to take would be a false alarm, so a size never becomes equal to
another one present, and one that also stands among the arguments as a number is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise, zip_longest

import numpy as np

from gradcheck.functions.filling import Filler, Manner, may_be_zero, resized
from gradcheck.functions.wishes import Interval
from gradcheck.observation.facts import Facts
from gradcheck.program import Array

LARGEST = 10_000
"""Entries of a drawn tensor, where sizes can be cut: it is evaluated hundreds of times."""

NO_AXES = "no axes"
"""What is said of a tensor without axes that stands for one with them."""

# Rounds of other values, one size changed at random, once everything was tried.
_ROUNDS = 4

# By what magnitudes are multiplied, exponentials overflow at 710; and between them, where values are equal.
_MANNERS = (
    ("larger magnitudes", Manner(scale=10.0)),
    ("ties of the largest", Manner(ties="largest")),
    ("smaller magnitudes", Manner(scale=0.01)),
    ("much larger magnitudes", Manner(scale=1000.0)),
    ("much smaller magnitudes", Manner(scale=1e-4)),
    ("ties of the smallest", Manner(ties="smallest")),
)
# The part of the entries that two inputs have in common, where they tie with each other.
_SHARED = 0.5
# Sizes beyond a vector register or a tile, a warp or a row of threads, and a block.
_BEYOND = (17, 67, 1031)

Sizes = Mapping[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """Inputs in the place of those seen.

    Attributes
    ----------
    inputs : tuple of arrays
        With the dtypes and ranks of those seen.
    what : str
        What is different, in words.
    """

    inputs: tuple[Array, ...]
    what: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One thing to try."""

    what: str
    sizes: Sizes
    manners: Mapping[int, Manner]
    is_scalar: bool = False
    pair: tuple[int, int] | None = None


def variations(
    inputs: Sequence[Array],
    facts: Sequence[Facts],
    random: np.random.Generator,
    *,
    differentiable: Sequence[bool] | None = None,
    domain: Interval | Mapping[int, Interval] | None = None,
    fixed_sizes: Collection[int] = (),
    is_elementwise: bool = False,
) -> Iterator[Variation]:
    """Drawn variations of the tensors of one call, the most telling first: values, zeros, sizes, magnitudes, ties.

    Parameters
    ----------
    inputs : sequence of arrays
        All tensors of the call. Integer and boolean ones keep their values; they are cut or repeated with the rest.
    facts : sequence of Facts
        One for each input, over all the calls seen.
    random : Generator
        One number is drawn from it, which decides everything.
    differentiable : sequence of bool or None
        Which inputs are differentiated; by default all floating ones. Others that were always constant stay so.
    domain : pair of floats, or mapping from an input's number to a pair, or None
        Where values may lie, in the place of the signs and ranges seen; a pair counts for the differentiated inputs.
    fixed_sizes : collection of int
        Sizes that also stand among the arguments as numbers: no axis of that size changes.
    is_elementwise : bool
        The outputs have the inputs' shape, as far as was seen: then they may have no axes.

    Yields
    ------
    Variation
        Finitely many. Where nothing of an input can be drawn anew, nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from gradcheck.observation.facts import facts_of
    >>> x = np.array([[0.25, 0.0, 1.5], [0.7, 2.25, 0.0]])
    >>> [v.what for v in variations([x], [facts_of(x)], np.random.default_rng(0))][:4]
    ['other values', 'exact zeros among x0', 'sizes 2 -> 5', 'larger magnitudes']
    """
    moved = [x.dtype.kind in "fc" for x in inputs] if differentiable is None else list(differentiable)
    drawer = _Drawer(inputs, facts, moved, domain, np.random.default_rng(int(random.integers(2**63))))
    drawer.is_elementwise = is_elementwise and all(k in drawer.fillers for k in range(len(inputs)))
    if not drawer.fillers:
        return
    sizes = _Sizes([x.shape for x in inputs], fixed_sizes)
    for step in chain(_steps(drawer, sizes), _rounds(drawer, sizes)):
        made = drawer.made(step)
        if made is not None:
            yield Variation(made, step.what)


def _steps(drawer: _Drawer, sizes: _Sizes) -> Iterator[_Step]:
    """Other values first, then by turns what belongs to zeros, to sizes, and to magnitudes and ties."""
    cut = sizes.cut()
    suffix = f", sizes {sizes.text(cut)}" if cut else ""
    yield _Step(f"other values{suffix}", cut, {})
    zeros = [_Step(what + suffix, cut, manners) for what, manners in _zeros(drawer)]
    other_sizes = [_Step(f"sizes {sizes.text(changed)}", changed, {}) for changed in sizes.changes(cut)]
    manners = [_Step(what + suffix, cut, wished) for what, wished in _manners(drawer)]
    has_seen_zeros = any(drawer.fillers[k].facts.has_zeros for k in drawer.moved)
    streams = (zeros, other_sizes, manners) if has_seen_zeros else (other_sizes, zeros, manners)
    for steps in zip_longest(*streams):
        yield from (step for step in steps if step is not None)
    for pair in drawer.pairs():
        yield _Step(f"ties between x{pair[0]} and x{pair[1]}{suffix}", cut, {}, pair=pair)
    if drawer.is_elementwise:
        yield _Step(NO_AXES, {}, {}, is_scalar=True)


def _rounds(drawer: _Drawer, sizes: _Sizes) -> Iterator[_Step]:
    """Other values again, in other sizes by turns, with zeros among them where zeros were seen."""
    cut = sizes.cut()
    changes = [cut, *(changed for changed in sizes.changes(cut) if 0 not in changed.values())]
    zeros = {k: Manner(zeros="some") for k in _with_zeros(drawer)}
    for turn in range(_ROUNDS):
        changed = changes[int(drawer.random.integers(len(changes)))]
        what = f"other values{' and exact zeros' if zeros and turn % 2 else ''}"
        yield _Step(f"{what}, sizes {sizes.text(changed)}" if changed else what, changed, zeros if turn % 2 else {})


def _zeros(drawer: _Drawer) -> Iterator[tuple[str, dict[int, Manner]]]:
    found = _with_zeros(drawer)
    if found:
        names = " and ".join(f"x{k}" for k in found)
        yield f"exact zeros among {names}", {k: Manner(zeros="some") for k in found}
    for k in found:
        if drawer.inputs[k].ndim > 1 and drawer.inputs[k].shape[-1] < drawer.inputs[k].size:
            yield f"a row of exact zeros in x{k}", {k: Manner(zeros="row")}
        if drawer.inputs[k].size > 1:
            yield f"exact zeros alone in x{k}", {k: Manner(zeros="all")}


def _with_zeros(drawer: _Drawer) -> list[int]:
    """The differentiated inputs that may be zero."""
    return [k for k in drawer.moved if may_be_zero(drawer.fillers[k].facts)]


def _manners(drawer: _Drawer) -> Iterator[tuple[str, dict[int, Manner]]]:
    for what, manner in _MANNERS:
        able = [k for k in drawer.moved if drawer.fillers[k].bears(manner)]
        if able:
            yield what, dict.fromkeys(able, manner)


class _Drawer:
    """The inputs of one call, drawn anew."""

    def __init__(
        self,
        inputs: Sequence[Array],
        facts: Sequence[Facts],
        differentiable: Sequence[bool],
        domain: Interval | Mapping[int, Interval] | None,
        random: np.random.Generator,
    ) -> None:
        self.inputs = tuple(inputs)
        self.random = random
        self.is_elementwise = False
        self.fillers: dict[int, Filler] = {}
        for k, (x, known, wanted) in enumerate(zip(inputs, facts, differentiable, strict=True)):
            if not wanted:
                known = _with_lone_labels(known, x)
            # What was never differentiated and always the same may be a mask or a constant.
            is_free = known.low < known.high or known.sums_to_one or known.unit_norm
            if x.dtype.kind in "fc" and x.size and (wanted or is_free):
                said = domain.get(k) if isinstance(domain, Mapping) else domain if wanted else None
                self.fillers[k] = Filler(x, known, said)
        self.moved = tuple(k for k in self.fillers if differentiable[k])
        if not self.moved:
            self.fillers = {}

    def made(self, step: _Step) -> tuple[Array, ...] | None:
        """The inputs as the step wants them; None where the facts do not allow it."""
        found: list[Array] = []
        for k, x in enumerate(self.inputs):
            shape = () if step.is_scalar else tuple(step.sizes.get(n, n) for n in x.shape)
            if k not in self.fillers:
                if 0 in shape and 0 not in x.shape:
                    return None  # of labels, indices and weights there is one at least
                found.append(resized(x, shape))
                continue
            drawn = self._drawn(k, shape, step.manners.get(k, Manner()))
            if drawn is None:
                return None
            found.append(drawn)
        return tuple(found) if step.pair is None else self._tied(found, *step.pair)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Differentiated inputs of one shape and dtype that can have values in common, each with the one before it."""
        able = [k for k in self.moved if self.fillers[k].bears(Manner(ties="largest"))]
        for first, second in pairwise(able):
            a, b = self.inputs[first], self.inputs[second]
            if a.shape == b.shape and a.dtype == b.dtype:
                yield first, second

    def _tied(self, found: list[Array], first: int, second: int) -> tuple[Array, ...] | None:
        """The inputs with some entries of one in the place of the other's; None where they cannot stand there."""
        source, filler = found[first], self.fillers[second]
        chosen = (self.random.random(source.shape) < _SHARED) & filler.is_inside(source)
        found[second] = np.where(chosen, source, found[second])
        return tuple(found) if chosen.any() and filler.fits(found[second], Manner(ties="largest")) else None

    def _drawn(self, k: int, shape: tuple[int, ...], manner: Manner) -> Array | None:
        x, filler = self.inputs[k], self.fillers[k]
        expanded = [axis for axis, stride in enumerate(x.strides) if stride == 0 and x.shape[axis] > 1]
        if expanded and self.random.random() < 0.5:
            found = filler.draw(shape, self.random, manner, expanded)
            if found is not None:
                return found
        return filler.draw(shape, self.random, manner)


def _with_lone_labels(facts: Facts, x: Array) -> Facts:
    """The facts with a lone one-hot vector taken for a label, which an input that is not differentiated often is."""
    axes = tuple(axis for name, axis in facts.open if name == "sums_to_one" and x.ndim and x.shape[axis] > 1)
    is_label = facts.is_integral and facts.low == 0.0 and facts.high == 1.0
    return replace(facts, sums_to_one=facts.sums_to_one + axes) if is_label else facts


class _Sizes:
    """The sizes of axes that occur in a call; axes of one size are one class."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], fixed: Collection[int]) -> None:
        self._shapes = shapes
        # A kept number may be a negative axis or a flag; only sizes beyond 1 are compared.
        self._fixed = {int(n) for n in fixed} | {0, 1}
        # A last axis as long as the axes before it are many, with or without one for a batch, holds coordinates of a
        # field; a function that takes more of them than there are dimensions was not meant to.
        self._fixed |= {
            shape[-1] for shape in shapes if len(shape) > 2 and shape[-1] in (len(shape) - 1, len(shape) - 2)
        }
        self._present = dict.fromkeys(n for shape in shapes for n in shape)

    def text(self, changed: Sizes) -> str:
        """``3 -> 5, 4 -> 7``."""
        return ", ".join(f"{n} -> {m}" for n, m in changed.items())

    def cut(self) -> dict[int, int]:
        """Sizes halved, the largest first, until no tensor is too large; empty where none is."""
        changed: dict[int, int] = {}
        while True:
            largest = max(self._shapes, key=lambda shape: self._entries(shape, changed), default=())
            able = [n for n in largest if n not in self._fixed and changed.get(n, n) > 2]
            if self._entries(largest, changed) <= LARGEST or not able:
                return changed
            n = max(able, key=lambda n: changed.get(n, n))
            changed[n] = self._free(changed.get(n, n) // 2, n, changed)
            if changed[n] >= n:
                return {key: m for key, m in changed.items() if m != key}

    def changes(self, cut: Sizes) -> list[dict[int, int]]:
        """One class at a time to a prime nearby, to 1, beyond what a kernel takes at once, to one more, to 2."""
        found = []
        beyond = (partial(max, size) for size in _BEYOND)
        choices: tuple[Callable[[int], int], ...] = (_prime_after, lambda _: 1, *beyond, lambda n: n + 1, lambda _: 2)
        for choose in choices:
            for n in self._present:
                m = choose(cut.get(n, n))
                changed = {**cut, n: m}
                others = {cut.get(k, k) for k in self._present if k != n}
                if n in self._fixed or m == n or m in others or changed in found:
                    continue
                if m < n or max(self._entries(shape, changed) for shape in self._shapes) <= LARGEST:
                    found.append(changed)
        return found + [{**cut, n: 0} for n in self._leading() if n not in self._fixed]

    def _leading(self) -> list[int]:
        """The sizes of first axes, where batches lie, which may be empty."""
        return list(dict.fromkeys(shape[0] for shape in self._shapes if shape))

    def _free(self, size: int, own: int, changed: Sizes) -> int:
        """The first size from `size` on that no other class has."""
        others = {changed.get(k, k) for k in self._present if k != own}
        return next(m for m in range(max(size, 2), size + len(others) + 3) if m not in others)

    def _entries(self, shape: tuple[int, ...], changed: Sizes) -> int:
        return math.prod(changed.get(n, n) for n in shape)


def _prime_after(n: int) -> int:
    """The first prime above ``n + 1``, so that a size changes by more than one."""
    m = n + 2
    while any(m % k == 0 for k in range(2, math.isqrt(m) + 1)):
        m += 1
    return m
