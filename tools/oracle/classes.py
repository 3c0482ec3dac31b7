"""The classes of graphs, as drawers: each looks at the values that occur while it adds ops."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tools.oracle.graphs import Constant, Graph, Step
from tools.oracle.libraries import library

Random = np.random.Generator

# Where an op is defined with room to spare and neither it nor its slope is large: lowest and highest operand.
SMOOTH = {
    "sin": (-9.0, 9.0), "cos": (-9.0, 9.0), "tanh": (-3.0, 3.0), "atan": (-6.0, 6.0), "sigmoid": (-6.0, 6.0),
    "erf": (-2.0, 2.0), "asinh": (-9.0, 9.0), "square": (-9.0, 9.0), "exp": (-5.0, 3.0), "expm1": (-4.0, 3.0),
    "sinh": (-3.0, 3.0), "cosh": (-3.0, 3.0), "log": (0.2, 99.0), "log1p": (-0.7, 99.0), "sqrt": (0.2, 99.0),
    "reciprocal": (0.3, 99.0), "asin": (-0.8, 0.8), "acos": (-0.8, 0.8), "atanh": (-0.8, 0.8), "acosh": (1.2, 50.0),
    "lgamma": (0.4, 20.0), "logsigmoid": (-9.0, 9.0), "power": (0.2, 9.0),
}  # fmt: skip
EXPONENTS = (0.5, 1.5, 2.5, -0.5, -1.5, 3.0)
PAIRS = ("add", "sub", "mul", "div", "atan2", "hypot", "logaddexp", "xlogy", "pow")
WHOLE = ("softmax", "log_softmax", "logsumexp", "sum", "mean", "cumsum", "norm", "matvec")
LARGEST = 1e3


@dataclass(slots=True)
class Draft:
    """A graph under construction, run in NumPy as it grows."""

    random: Random
    inputs: list[np.ndarray] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)

    def input(self, values: np.ndarray) -> int:
        """A new input; all come before the first step."""
        self.inputs.append(np.asarray(values, dtype=np.float64))
        self.values.append(self.inputs[-1])
        return len(self.values) - 1

    def add(self, op: str, *operands: int, constant: Constant = None) -> int:
        """A new step; returns the number of its value."""
        arguments = () if constant is None else (constant,)
        with np.errstate(all="ignore"):
            found = library("numpy").ops[op](*[self.values[k] for k in operands], *arguments)
        self.steps.append(Step(op, operands, constant))
        self.values.append(np.asarray(found, dtype=np.float64))
        return len(self.values) - 1

    def uniform(self, low: float, high: float, like: int | None = None) -> np.ndarray:
        """Numbers of the shape of a value."""
        shape = () if like is None else self.values[like].shape
        return np.asarray(self.random.uniform(low, high, shape))

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def pick(self, names: list[str] | tuple[str, ...]) -> str:
        return str(names[int(self.random.integers(len(names)))])


def draw(kind: str, seed: int) -> Graph:
    """The graph of a class with that number; a draft with a value that is not finite is drawn again."""
    drawer = CLASSES[kind]
    for attempt in range(100):
        draft = Draft(np.random.default_rng([zlib.crc32(kind.encode()), seed, attempt]))
        drawer(draft)
        _join(draft)
        if all(np.isfinite(value).all() for value in draft.values):
            return Graph(kind, seed, tuple(draft.inputs), tuple(draft.steps), tuple(sorted(draft.notes)))
    raise AssertionError(f"{kind}:{seed}: no finite draft in 100 attempts")


def _join(draft: Draft) -> None:
    """Let each value that nothing reads take part in the last one."""
    read = {k for step in draft.steps for k in step.operands}
    last = len(draft.values) - 1
    for k in range(last):
        if k not in read:
            other = k if _fits(draft.values[last], draft.values[k]) else draft.add("mean", k)
            last = draft.add(draft.pick(("add", "sub")), last, other)


def _fits(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether an op of two operands takes these."""
    return not (x.ndim and y.ndim) or x.shape == y.shape


# --- the smooth material that other classes are made with ---------------------------------------------------------


def _points(draft: Draft, *, low: float = 0.3, high: float = 3.0) -> list[int]:
    """One or two inputs of one to six entries, of either sign; the second may have no axis."""
    count = int(draft.random.integers(1, 7))
    shapes: list[tuple[int, ...]] = [(count,)]
    if draft.chance(0.4):
        shapes.append((count,) if draft.chance(0.7) else ())
    found = []
    for shape in shapes:
        signs = draft.random.choice([-1.0, 1.0], shape)
        found.append(draft.input(np.round(signs * draft.random.uniform(low, high, shape), 4)))
    return found


def _choices(draft: Draft, k: int) -> list[str]:
    """The smooth ops that value `k` allows as their operand."""
    value = draft.values[k]
    found = [op for op, (low, high) in SMOOTH.items() if value.min() >= low and value.max() <= high]
    if value.ndim and np.abs(value).max() <= 20.0:
        found += [op for op in WHOLE if op != "norm" or np.abs(value).max() > 0.3]
        if value.size == 1:  # the softmax of one number is 1
            found = [op for op in found if op not in ("softmax", "log_softmax")]
    return found


def _allowed(op: str, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether a smooth op of two operands may meet these values."""
    if not _fits(x, y):
        return False
    if max(np.abs(x).max(), np.abs(y).max()) > 30.0:
        return op in ("add", "sub") and max(np.abs(x).max(), np.abs(y).max()) <= LARGEST
    if op == "div":
        return bool(np.abs(y).min() > 0.3)
    if op in ("atan2", "hypot"):
        return bool((x * x + y * y).min() > 0.1)
    if op == "xlogy":
        return bool(y.min() > 0.2)
    if op == "pow":
        return bool(x.min() > 0.2 and np.abs(y).max() < 3.0 and np.abs(x).max() < 5.0)
    return True


def _grow(draft: Draft, count: int) -> int:
    """Add `count` smooth ops, mostly on the newest value; returns the last value."""
    for _ in range(count):
        newest = len(draft.values) - 1
        k = newest if draft.chance(0.8) else int(draft.random.integers(newest + 1))
        other = int(draft.random.integers(newest + 1))
        pairs = [op for op in PAIRS if _allowed(op, draft.values[k], draft.values[other])]
        if pairs and newest > 0 and draft.chance(0.3):
            draft.add(draft.pick(pairs), k, other)
            continue
        choices = _choices(draft, k)
        if not choices or draft.chance(0.1):
            size = max(1.0, float(np.abs(draft.values[k]).max()))
            draft.add("scale", k, constant=draft.uniform(0.5, 2.0, k) / size)
            continue
        _apply(draft, draft.pick(choices), k)
    return len(draft.values) - 1


def _apply(draft: Draft, op: str, k: int) -> int:
    """One smooth op, with a constant where it takes one."""
    if op == "power":
        return draft.add(op, k, constant=float(draft.random.choice(EXPONENTS)))
    if op == "matvec":
        columns = draft.values[k].size
        rows = int(draft.random.integers(1, 5))
        return draft.add(op, k, constant=np.round(draft.random.standard_normal((rows, columns)), 3))
    return draft.add(op, k)


def _count(draft: Draft, most: int = 8) -> int:
    return int(draft.random.integers(1, most + 1))


def _smooth(draft: Draft) -> None:
    """One to eight ops at values of ordinary size, away from every special point."""
    _points(draft)
    _grow(draft, _count(draft))


# --- classes ------------------------------------------------------------------------------------------------------


def _power_of_ten(draft: Draft, low: float, high: float, like: int | None = None) -> np.ndarray:
    """Factors of 10**low to 10**high: one for all entries, or one for each."""
    shape = () if like is None else draft.values[like].shape
    exponents = draft.random.uniform(low, high, shape if draft.chance(0.5) else ())
    return np.asarray(np.broadcast_to(10.0**exponents, shape), dtype=np.float64).copy()


def _ill_scaled(draft: Draft) -> None:
    """Inputs, results or weights off by factors of 1e-6 to 1e6, entry by entry; or a large constant added."""
    way = draft.pick(("inputs", "outputs", "both", "weights", "offset"))
    if way in ("inputs", "both"):
        count = int(draft.random.integers(1, 7))
        plain = draft.random.choice([-1.0, 1.0], count) * draft.random.uniform(0.3, 3.0, count)
        factors = 10.0 ** draft.random.uniform(-6.0, 6.0, count if draft.chance(0.5) else ())
        k = draft.input(plain * factors)
        draft.add("scale", k, constant=np.asarray(np.broadcast_to(1.0 / factors, (count,))).copy())
    else:
        _points(draft)
    last = _grow(draft, _count(draft, 5))
    if way in ("outputs", "both"):
        last = draft.add("scale", last, constant=_power_of_ten(draft, -6.0, 6.0, last))
    if way == "offset":
        last = draft.add("shift", last, constant=_power_of_ten(draft, 0.0, 6.0, last))
    if way == "weights" and draft.values[last].ndim:
        columns = draft.values[last].size
        weights = draft.random.standard_normal((3, columns)) * 10.0 ** draft.random.uniform(-6.0, 6.0, (3, columns))
        last = draft.add("matvec", last, constant=weights)
    if draft.values[last].ndim and draft.chance(0.3):
        draft.add("sum", last)


def _stiff(draft: Draft) -> None:
    """Waves of frequency 10 to 10**4.5, exponents up to 30, steps and bells of width 1e-4 to 0.1."""
    points = _points(draft, high=1.5)
    if draft.chance(0.5):
        _apply(draft, draft.pick([op for op in _choices(draft, points[0]) if op in SMOOTH]), points[0])
    k = len(draft.values) - 1
    way = draft.pick(("wave", "growth", "step", "bell"))
    if way == "wave":
        k = draft.add("scale", k, constant=10.0 ** draft.uniform(1.0, 4.5, k))
        k = draft.add(draft.pick(("sin", "cos")), k)
    elif way == "growth":
        largest = max(float(np.abs(draft.values[k]).max()), 0.1)
        k = draft.add("scale", k, constant=draft.uniform(5.0, 30.0, k) / largest)
        k = draft.add(draft.pick(("exp", "expm1", "sinh", "cosh")), k)
    else:
        width = 10.0 ** draft.uniform(-4.0, -1.0, k)
        k = draft.add("shift", k, constant=-draft.values[k] + draft.uniform(-1.5, 1.5, k) * width)
        k = draft.add("scale", k, constant=1.0 / width)
        if way == "step":
            k = draft.add(draft.pick(("tanh", "sigmoid", "erf", "atan")), k)
        else:
            k = draft.add("square", k)
            k = draft.add("scale", k, constant=np.full(draft.values[k].shape, -1.0))
            k = draft.add("exp", k)
    if draft.chance(0.6):
        _grow(draft, _count(draft, 3))


KINKED = ("relu", "abs", "leaky_relu", "elu", "clamp", "maximum", "minimum", "amax", "amin")


def _kink(draft: Draft, op: str, k: int, distances: np.ndarray) -> int:
    """A kinked op whose operand `k` is moved to these signed distances from the kink (infinite: left where it is)."""
    value = draft.values[k]
    far = ~np.isfinite(distances)
    near = np.where(far, 0.0, distances)
    if op in ("maximum", "minimum"):
        other = draft.add("shift", k, constant=np.where(far, draft.uniform(-2.0, 2.0, k), near))
        return draft.add(op, k, other)
    if op in ("amax", "amin"):
        top = value.max() if op == "amax" else value.min()
        sign = -1.0 if op == "amax" else 1.0
        k = draft.add("shift", k, constant=np.where(far, 0.0, top - value + sign * np.abs(near)))
        return draft.add(op, k)
    if op == "clamp":
        low = float(draft.random.uniform(-1.5, -0.5))
        k = draft.add("shift", k, constant=np.where(far, 0.0, low - value + near))
        return draft.add(op, k, constant=(low, low + 2.0))
    k = draft.add("shift", k, constant=np.where(far, 0.0, near - value))
    constant = float(draft.random.uniform(0.01, 0.5)) if op == "leaky_relu" else None
    return draft.add(op, k, constant=float(draft.random.uniform(0.3, 2.0)) if op == "elu" else constant)


def _near_kink(draft: Draft) -> None:
    """A kink at a distance of 1e-9 to 0.1 in at least one entry, between smooth ops."""
    _points(draft)
    k = _grow(draft, int(draft.random.integers(0, 3)))
    value = draft.values[k]
    distances = 10.0 ** draft.random.uniform(-9.0, -1.0, value.shape) * draft.random.choice([-1.0, 1.0], value.shape)
    near = np.asarray(draft.random.random(value.shape) < 0.5)
    near.reshape(-1)[int(draft.random.integers(value.size))] = True
    ops = [op for op in KINKED if value.size > 1 or op not in ("amax", "amin")]
    k = _kink(draft, draft.pick(ops), k, np.where(near, distances, np.inf))
    other = int(draft.random.integers(len(draft.inputs)))
    if draft.chance(0.5) and _fits(draft.values[k], draft.values[other]):
        draft.add(draft.pick(("add", "mul")), k, other)
    _grow(draft, int(draft.random.integers(0, 4)))


def _at_kink(draft: Draft) -> None:
    """One op, exactly at its kink or tie in some entries and away from it in others."""
    op = draft.pick((*KINKED, "norm"))
    count = int(draft.random.integers(2, 7))
    value = np.round(draft.random.choice([-1.0, 1.0], count) * draft.random.uniform(0.3, 3.0, count), 4)
    at = np.zeros(count, dtype=bool)
    at[draft.random.permutation(count)[: int(draft.random.integers(1, count))]] = True
    if op in ("maximum", "minimum"):
        x = draft.input(value)
        y = draft.input(np.where(at, value, np.round(value + draft.random.uniform(0.5, 2.0, count), 4)))
        draft.add(op, *((x, y) if draft.chance(0.5) else (y, x)))
    elif op in ("amax", "amin"):
        top = value.max() if op == "amax" else value.min()
        draft.add(op, draft.input(np.where(at, top, value)))
    elif op == "clamp":
        ends = (-1.0, 1.5)
        draft.add(op, draft.input(np.where(at, draft.random.choice(ends, count), value)), constant=ends)
    elif op == "norm":
        draft.add(op, draft.input(np.zeros(count)))
    else:
        constant = {"leaky_relu": 0.1, "elu": 0.7}.get(op)
        draft.add(op, draft.input(np.where(at, 0.0, value)), constant=constant)


def _kink_composition(draft: Draft) -> None:
    """Several ops at a kink, some of which right conventions do not compose through."""
    count = int(draft.random.integers(1, 7))
    value = np.round(draft.random.choice([-1.0, 1.0], count) * draft.random.uniform(0.3, 3.0, count), 4)
    at = draft.random.random(count) < 0.5
    at[int(draft.random.integers(count))] = True
    x = draft.input(np.where(at, 0.0, value))
    minus = draft.add("scale", x, constant=np.full(count, -draft.random.integers(1, 4).astype(float)))
    way = draft.pick(("both sides", "nested", "larger of two", "product", "smooth around"))
    if way == "both sides":
        draft.add(draft.pick(("sub", "add")), draft.add("relu", x), draft.add(draft.pick(("relu", "abs")), minus))
    elif way == "nested":
        draft.add(draft.pick(("abs", "relu")), draft.add("leaky_relu", minus, constant=0.25))
    elif way == "larger of two":
        draft.add(draft.pick(("maximum", "minimum")), x, minus)
    elif way == "product":
        draft.add("mul", draft.add("abs", x), draft.add("cos", minus))
    else:
        k = draft.add(draft.pick(("tanh", "sin", "expm1", "asinh")), minus)
        k = draft.add(draft.pick(("relu", "abs")), k)
        draft.add(draft.pick(("exp", "sigmoid", "sum", "cumsum", "square")), k)


def _edge(draft: Draft) -> None:
    """At or near the end of a domain: distance 1e-9 to 0.1, exactly at it in one graph of seven."""
    op = draft.pick(("sqrt", "log", "log1p", "asin", "acos", "acosh", "atanh", "power", "xlogy", "reciprocal", "pow"))
    count = int(draft.random.integers(1, 7))
    away = draft.random.uniform(0.2, 0.6, count)
    near = np.asarray(draft.random.random(count) < 0.6)
    near[int(draft.random.integers(count))] = True
    distance = np.where(near, 10.0 ** draft.random.uniform(-9.0, -1.0, count), away)
    if op in ("sqrt", "power", "xlogy") and count > 1 and draft.chance(0.4):
        distance[int(draft.random.integers(count))] = 0.0
        draft.notes.add("exactly at the edge")
    second = draft.input(distance) if op in ("sqrt", "log", "power", "xlogy", "reciprocal", "pow") else None
    if op == "xlogy":
        y = draft.input(draft.random.uniform(0.3, 3.0, count))
        k = draft.add(op, draft.values.index(draft.inputs[0]) if second is None else second, y)
    elif op == "pow":
        assert second is not None
        k = draft.add(op, second, draft.input(draft.random.uniform(0.3, 2.5, count)))
    elif op == "power":
        assert second is not None
        k = draft.add(op, second, constant=float(draft.random.choice((0.5, 1.5, 2.5, 0.25))))
    elif second is not None:
        k = draft.add(op, second)
    else:
        sign = 1.0 if op == "acosh" or draft.chance(0.5) else -1.0
        inside = {"log1p": distance - 1.0, "acosh": 1.0 + distance}.get(op, sign * (1.0 - distance))
        k = draft.add(op, draft.input(inside))
    if draft.chance(0.5):
        k = draft.add("scale", k, constant=draft.uniform(0.5, 2.0, k))
        if draft.chance(0.5):
            _apply(draft, draft.pick(("sum", "mean", "cumsum", "asinh", "matvec")), k)


def _saturated(draft: Draft) -> None:
    """Large arguments: magnitudes 0.5 to 800, so that some entries or all are flat, underflow or lose their digits."""
    count = int(draft.random.integers(1, 7))
    op = draft.pick((
        "tanh", "sigmoid", "erf", "erfc", "exp", "softmax", "log_softmax", "logsumexp", "logsigmoid", "logaddexp",
        "atan",
    ))  # fmt: skip
    largest = {"erf": 1.5, "erfc": 1.4, "tanh": 2.6}.get(op, 2.9)
    size = 10.0 ** draft.random.uniform(-0.3, largest, count)
    sign = -np.ones(count) if op == "exp" else draft.random.choice([-1.0, 1.0], count)
    if draft.chance(0.9):  # most have an entry that is not saturated
        size[int(draft.random.integers(count))] = draft.random.uniform(0.3, 2.0)
    x = draft.input(sign * size)
    if draft.chance(0.3):
        x = draft.add("scale", x, constant=draft.uniform(0.8, 1.25, x))
    k = draft.add(op, x, draft.input(draft.random.uniform(-2.0, 2.0, count))) if op == "logaddexp" else draft.add(op, x)
    if draft.chance(0.5):
        ways = ("sum", "mean", "cumsum", "square", "matvec") if draft.values[k].ndim else ("square", "sin")
        _apply(draft, draft.pick(ways), k)


CLASSES: dict[str, Callable[[Draft], None]] = {
    "smooth": _smooth,
    "ill_scaled": _ill_scaled,
    "stiff": _stiff,
    "near_kink": _near_kink,
    "at_kink": _at_kink,
    "kink_composition": _kink_composition,
    "edge": _edge,
    "saturated": _saturated,
}
