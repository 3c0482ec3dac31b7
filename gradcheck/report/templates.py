"""What a stand-alone script does for each claim, as source text over a Function's `function`, `point` and `cotangents`.

Names in capitals are assigned above a body: the input K and the ENTRY that is wrong, and what the claim adds.
"""

from __future__ import annotations

import ast
from functools import cache

GRADIENTS = '''
def leaves(tensors):
    """The inputs, ready to be differentiated."""
    return [x.requires_grad_() if k in WANTED else x for k, x in enumerate(tensors)]


def recorded(x, u):
    """The outputs that have a history, and their cotangents."""
    pairs = [(y, v) for y, v in zip(function(*x), u) if y.requires_grad]
    return [y for y, _ in pairs], [v for _, v in pairs]


def towards(wanted, ys, vs, **options):
    """One gradient for each of these tensors; None, which says "not connected", as zeros."""
    pairs = [(y, v) for y, v in zip(ys, vs) if y.requires_grad]
    ys, vs = [y for y, _ in pairs], [v for _, v in pairs]
    found = torch.autograd.grad(ys, wanted, vs, allow_unused=True, **options) if ys else [None] * len(wanted)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found)]


def pulled(x, ys, vs, **options):
    """One gradient for each input in WANTED."""
    return towards([x[k] for k in WANTED], ys, vs, **options)


def gradients(x, u, **options):
    return pulled(x, *recorded(x, u), **options)
'''

INNER = '''
def inner(a, b):
    """The sum of the products of all entries, in double precision; what is multiplied by 0 may be infinite."""
    pairs = zip(a, b)
    return sum(v * y for s, t in pairs for v, y in zip(s.flatten().tolist(), t.flatten().tolist()) if v)
'''

# Ridders' method: its table is extrapolated to step 0. A difference that happens to be 0 must not pass for an exact
# result, so round-off is added.
DERIVATIVE = '''
def derivative(value, step):
    """The slope of value at 0 from ever smaller differences, extrapolated; and an estimate of its error."""
    best, error, above = nan, inf, []
    for _ in range(16):
        ends = {ends}
        row = [(ends[1] - ends[0]) / ({width} * step)]
        for order, older in enumerate(above, start=1):
            row.append(row[-1] + (row[-1] - older) / ({base}**order - 1))
            gap = max(abs(row[-1] - row[-2]), abs(row[-1] - older)) + {eps} * max(map(abs, ends)) / step
            if gap < error:
                best, error = row[-1], gap
        above, step = row, step / 2
    return best, error
'''
SIDES = (
    {"ends": "value(-step), value(step)", "width": "2", "base": "4"},
    {"ends": "value(0.0), value(step)", "width": "1", "base": "2"},
    {"ends": "value(-step), value(0.0)", "width": "1", "base": "2"},
)
"""Central differences; forwards, or backwards, where the function ends at the point."""

COMPARED = """
print(f"{first:<9} {{found:.12g}}")
print(f"{second:<9} {{expected:.12g}} ± {{error:.1g}}   (they differ by {{abs(found - expected):.3g}})")
if abs(found - expected) <= {allowed}:
    print("agrees now")
else:
    sys.exit(1)
"""

RAISED = """
x = leaves(point())
outputs = recorded(x, cotangents() or [torch.ones_like(y) for y in function(*point())])
try:
    pulled(x, *outputs)
except Exception as error:
    print(f"the backward pass raised {type(error).__name__}: {error}")
    sys.exit(1)
print("agrees now")
"""

MISFIT = """
x = leaves(point())
for k, g in zip(WANTED, gradients(x, cotangents())):
    if g.shape != x[k].shape or g.dtype != x[k].dtype:
        print(f"gradient of x{k}: expected shape {tuple(x[k].shape)} and dtype {x[k].dtype},")
        print(f"got shape {tuple(g.shape)} and dtype {g.dtype}")
        sys.exit(1)
print("agrees now")
"""

GRADIENT = '''
def value(step):
    """The sum of the outputs times their cotangents, with that entry moved."""
    x = [t.contiguous().clone() for t in point()]
    x[K][ENTRY] += step
    return inner(cotangents(), function(*x))


found = gradients(leaves(point()), cotangents())[WANTED.index(K)][ENTRY].item()
expected, error = derivative(value, STEP)
'''

# Where all backward passes from fresh graphs agree.
AGAIN = """
# Once more from the same graph, and the first time.
x = leaves(point())
outputs = recorded(x, cotangents())
expected, found = [pulled(x, *outputs, retain_graph=True)[WANTED.index(K)][ENTRY].item() for _ in range(2)]
error = 1e-9 * abs(expected)
"""

# J v; with a history where the inputs have one.
ALONG = '''
def along(of, x, directions):
    """How what is computed of x changes along directions of the inputs in WANTED, by forward mode."""
    x = list(x)
    with forward_ad.dual_level():
        for k, v in zip(WANTED, directions):
            x[k] = forward_ad.make_dual(x[k], v)
        pairs = [forward_ad.unpack_dual(y) for y in of(*x)]
    return [torch.zeros_like(p) if t is None else t for p, t in pairs]
'''

FORWARD_MODE = (
    ALONG
    + """

found = inner(gradients(leaves(point()), cotangents()), directions())  # reverse mode
expected = inner(cotangents(), along(function, point(), directions()))
"""
)

MIXED = (
    ALONG
    + """

def reverse_over_reverse():
    x = leaves(point())
    return pulled(x, gradients(x, cotangents(), create_graph=True), directions())


def forward_over_reverse():
    return along(lambda *x: gradients(x, cotangents(), create_graph=True), leaves(point()), directions())


def reverse_over_forward():
    x = leaves(point())
    return pulled(x, along(function, x, directions()), cotangents())


# The second derivative along the directions, in two ways.
found = reverse_over_reverse()[WANTED.index(K)][ENTRY].item()
expected = {way}()[WANTED.index(K)][ENTRY].item()
"""
)

LINEAR = """
def gradient(u):
    return gradients(leaves(point()), u)[WANTED.index(K)][ENTRY].item()


# The gradient for a combination of two cotangents, and that combination of their gradients.
a, b = FACTORS
found = gradient([a * u + b * w for u, w in zip(cotangents(), others())])
expected = a * gradient(cotangents()) + b * gradient(others())
"""

SECOND_ORDER = '''
def value(step):
    """The sum of the first gradients times their cotangents, with that entry moved."""
    held = [t.contiguous().clone() for t in [*point(), *cotangents()]]
    held[K][ENTRY] += step
    count = len(point())
    return inner(seconds(), gradients(leaves(held[:count]), held[count:]))


x, u = leaves(point()), [v.requires_grad_() for v in cotangents()]
first = gradients(x, u, create_graph=True)
found = towards([[*x, *u][K]], first, seconds())[0][ENTRY].item()
expected, error = derivative(value, STEP)
'''

THIRD_ORDER = '''
def second(x, u, w, **options):
    """The derivatives of <w, gradients> in the inputs in WANTED and in their cotangents u."""
    return towards([*(x[k] for k in WANTED), *u], gradients(x, u, create_graph=True), w, **options)


def parts(tensors):
    """Inputs, cotangents and cotangents of the gradients."""
    first, last = len(point()), len(point()) + len(cotangents())
    return leaves(tensors[:first]), [v.requires_grad_() for v in tensors[first:last]], tensors[last:]


def value(step):
    """The sum of the second derivatives times their cotangents, with that entry moved."""
    held = [t.contiguous().clone() for t in [*point(), *cotangents(), *seconds()]]
    held[K][ENTRY] += step
    return inner(thirds(), second(*parts(held)))


x, u, w = parts([*point(), *cotangents(), *(v.requires_grad_() for v in seconds())])
found = towards([[*x, *u, *w][K]], second(x, u, w, create_graph=True), thirds())[0][ENTRY].item()
expected, error = derivative(value, STEP)
'''

KINK = '''
def nearby():
    """The inputs, moved at random by a thousandth of each entry; a zero by one of the smallest entry, or of 1."""
    x = point()
    for k in WANTED:
        size = x[k].abs()
        least = min([v for v in size.flatten().tolist() if v], default=1.0)
        size = torch.where(size > 0, size, torch.full_like(size, least))
        x[k] = x[k] + 2.0**-10 * size * (2 * torch.rand(size.shape, dtype=size.dtype) - 1)
    return x


def slope(x):
    """The slope along the direction, by differences of two widths; nan where there is a kink in between."""

    def value(step):
        moved = list(x)
        for k, v in zip(WANTED, directions()):
            moved[k] = moved[k] + step * v
        return inner(cotangents(), function(*moved))

    wide, narrow = [(value(h) - value(-h)) / (2 * h) for h in (2.0**-18, 2.0**-19)]
    return narrow if abs(wide - narrow) <= 1e-3 * max(abs(wide), abs(narrow)) else nan


# What gradients at a kink may be lies between the slopes beside it. Neighbours come first: function may seed.
torch.manual_seed(0)
neighbours = [nearby() for _ in range(100)]
slopes = [v for v in map(slope, neighbours) if v == v]
found = inner(gradients(leaves(point()), cotangents()), directions())
expected = min(max(found, min(slopes)), max(slopes))  # the nearest
print(f"slopes nearby lie between {min(slopes):.6g} and {max(slopes):.6g}")
'''

UNTOUCHED = """
def state(named):
    return {name: (repr(t.tolist()), t._version) for name, t in named.items()}


def judge(which, before, after):
    for name in before:
        if before[name] != after[name]:
            print(f"the {which} pass modified {name}: {before[name][0][:300]} became {after[name][0][:300]}")
            print(f"(version {before[name][1]} became {after[name][1]})")
            sys.exit(1)


x = leaves(point())
named = {f"x{k}": t for k, t in enumerate(x)}
before = state(named)
outputs = function(*x)
judge("forward", before, state(named))
"""
UNTOUCHED_BACKWARD = """u = cotangents()
named |= {f"the cotangent of output {k}": v for k, v in enumerate(u)}
before = state(named)
pulled(x, outputs, u)
judge("backward", before, state(named))
"""

UNUSED = '''
def result(outputs, u):
    """The number that is wrong."""
    return pulled(x, outputs, u)[WANTED.index(K)][ENTRY].item()


x = leaves(point())
expected = result(function(*x), [v if k in USED else torch.zeros_like(v) for k, v in enumerate(cotangents())])
x = leaves(point())
outputs = function(*x)
found = result([outputs[k] for k in USED], [cotangents()[k] for k in USED])
'''
UNUSED_RAISED = """
x = leaves(point())
outputs = function(*x)
try:
    pulled(x, [outputs[k] for k in USED], [cotangents()[k] for k in USED])
except Exception as error:
    print(f"the backward pass raised {type(error).__name__}: {error}")
    sys.exit(1)
print("agrees now")
"""

BATCHED = '''
def at_once(x):
    """The outputs of one call for the whole batch."""
    return list(torch.vmap(lambda *example: tuple(function(*example)), in_dims=tuple(AXES))(*x))


def one_by_one(x):
    """The outputs of a call for each example."""
    examples = [[t if axis is None else t.select(axis, n) for t, axis in zip(x, AXES)] for n in range(EXAMPLES)]
    return [torch.stack(column) for column in zip(*(function(*example) for example in examples))]


def result(outputs, x):
    """The number that is wrong."""
    return {result}[ENTRY].item()


x = leaves(point())
found = result(at_once(x), x)
expected = result(one_by_one(x), x)
'''

LAYOUT = """
def contiguous(tensors):
    return [t.contiguous().clone() for t in tensors]


def result(x, u):
    return {result}[ENTRY].item()


found = result(point(), cotangents())
expected = result(contiguous(point()), contiguous(cotangents()))
"""

ACCUMULATED = """
expected = TIMES * gradients(leaves(point()), cotangents())[WANTED.index(K)][ENTRY].item()
x = leaves(point())
ys, vs = recorded(x, cotangents())
for _ in range(TIMES):
    torch.autograd.backward(ys, vs, retain_graph=True)
found = 0.0 if x[K].grad is None else x[K].grad[ENTRY].item()
"""
USED_TWICE = """
both = [gradients(leaves(point()), u)[WANTED.index(K)][ENTRY].item() for u in (cotangents(), others())]
expected = sum(both)
x = leaves(point())
(ys, vs), (zs, ws) = recorded(x, cotangents()), recorded(x, others())
torch.autograd.backward([*ys, *zs], [*vs, *ws])
found = 0.0 if x[K].grad is None else x[K].grad[ENTRY].item()
"""

REPEATED = '''
def again():
    """The number that changes, from a pass of its own."""
    x, u = leaves(point()), cotangents()
    return {result}[ENTRY].item()


expected = again()
found = next((other for other in (again() for _ in range(100)) if other != expected), expected)
'''
USED_AGAIN = """
x = leaves(point())
outputs = recorded(x, cotangents())
expected, found = [pulled(x, *outputs, retain_graph=True)[WANTED.index(K)][ENTRY].item() for _ in range(2)]
"""

NARROW = '''
def gradient(dtype):
    """The entry, with everything in one dtype."""
    held = [t.to(dtype) if t.is_floating_point() else t for t in point()]
    return gradients(leaves(held), [v.to(dtype) for v in cotangents()])[WANTED.index(K)][ENTRY].item()


expected = gradient(torch.float64)
found = gradient({narrow})
'''

SUBSET = """
expected = gradients(leaves(point()), cotangents())[WANTED.index(K)][ENTRY].item()  # all of them require grad
WANTED = SUBSET
found = gradients(leaves(point()), cotangents())[WANTED.index(K)][ENTRY].item()
"""

TWO_GRAPHS = """
expected = gradients(leaves(point()), cotangents())[WANTED.index(K)][ENTRY].item()  # alone
inputs = {order}
outputs = [recorded(x, cotangents()) for x in inputs]
found = [pulled(x, *pair) for x, pair in zip(inputs, outputs)][{which}][WANTED.index(K)][ENTRY].item()
"""

PRECISION = '''
def result(move):
    """With every input and cotangent moved by so much of itself, up or down."""
    given = [*point(), *cotangents()]
    moved = [t * (1 + move * s) if t.is_floating_point() else t for t, s in zip(given, signs())]
    x, u = moved[: len(point())], moved[len(point()) :]
    return {result}.detach()


# Less than float32's spacing. What a straight line through the three results leaves is round-off.
UP, DOWN = 0.8 * 2.0**-23, 0.3 * 2.0**-23
above, middle, below = result(UP), result(0.0), result(-DOWN)
left = (DOWN * (above - middle) + UP * (below - middle)) / (UP + DOWN)
roundoff = left.abs().max().item() / (middle.abs().max().item() or 1.0)
print(f"round-off of {roundoff:.1g} of the largest value; float64 has about 1e-16")
if roundoff <= 2.0**-34:
    print("agrees now")
else:
    sys.exit(1)
'''


@cache
def own_names() -> frozenset[str]:
    """The names that a script gives to things of its own, which those of the user's might hide."""
    texts = [text for name, text in globals().items() if name.isupper() and isinstance(text, str)]
    found = {"WANTED", "K", "ENTRY", "STEP", "FACTORS", "TIMES", "SUBSET", "function", "point", "cotangents"}
    found |= {"directions", "signs", "seconds", "thirds", "others", "other_point"}
    for statement in ast.parse("".join(texts)).body:
        if isinstance(statement, ast.FunctionDef):
            found.add(statement.name)
        else:
            found |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(found)
