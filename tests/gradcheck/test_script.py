"""The stand-alone scripts show what was found, where only the engine's library is at hand."""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

import gradcheck
import refengine as re
from gradcheck.failures import Evidence
from gradcheck.report.script import function_script
from refengine.autograd import Function
from tests.gradcheck.wrong_functions import CLAIMS, POINT, TWINS, Square

FACTOR = 2.0

# Runs scripts one after the other in a process that has no more than their users have.
DRIVER = """
import contextlib, io, json, runpy, sys, warnings

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refused())
ends = []
for path in sys.argv[1:]:
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path(path)
        except SystemExit as end:
            code = end.code
    ends.append([code, said.getvalue()])
print(json.dumps(ends))
"""


def ends(folder, sources, *blocked):
    """The exit code and the output of each script."""
    paths = [folder / f"script_{k}.py" for k in range(len(sources))]
    for path, source in zip(paths, sources, strict=True):
        path.write_text(source, encoding="utf-8")
    driver = DRIVER.replace("{blocked}", repr({"gradcheck", "pytest", "_pytest", "hypothesis", "tests", *blocked}))
    command = [sys.executable, "-c", driver, *map(str, paths)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def finding_of(function, *inputs, claims=None):
    """The first failure of a Function's."""
    report = gradcheck.check(function.apply, *inputs, claims=claims)
    assert report.failures, report
    return report.failures[0]


def script_of(function, *inputs, claims=None, **options):
    found = finding_of(function, *inputs, claims=claims)
    return function_script(found, function=function, arguments=inputs, engine="refengine", **options)


def values(said):
    """The two numbers that a script printed."""
    return [float(line.split()[1]) for line in said.splitlines()[:2]]


# Every planted mistake -----------------------------------------------------------------------------------------------


def mended(source, wrong, right):
    """The script with the right Function under the wrong one's name."""
    mark = "WANTED = "
    assert mark in source
    return source.replace(mark, f"{inspect.getsource(right)}\n\n{wrong.__name__} = {right.__name__}\n\n\n{mark}", 1)


@pytest.fixture(scope="module")
def planted_ends(tmp_path_factory):
    """For each planted mistake and code: the finding, and how the script ends with the mistake and without it."""
    pytest.importorskip("torch")
    from tests.planted.torch_functions import PLANTED

    cases, sources = [], []
    for planted in PLANTED:
        report = gradcheck.check(planted.wrong, *planted.inputs, claims=sorted(planted.codes))
        for finding in report.failures:
            source, problem = function_script(
                finding, function=planted.wrong.__self__, arguments=planted.inputs, engine="torch"
            )
            assert not problem, (planted.name, finding.code, problem)
            cases.append((f"{planted.name} {finding.code}", finding))
            sources += [source, mended(source, planted.wrong.__self__, planted.right.__self__)]
    found = ends(tmp_path_factory.mktemp("planted"), sources)
    return [(*case, *found[2 * k : 2 * k + 2]) for k, case in enumerate(cases)]


def test_the_script_of_each_planted_mistake_exits_1_and_with_the_right_twin_0(planted_ends):
    assert len(planted_ends) >= 15
    wrong = {name: wrong for name, _, wrong, _ in planted_ends if wrong[0] != 1}
    assert not wrong
    right = {name: right for name, _, _, right in planted_ends if right[0] != 0 or "agrees now" not in right[1]}
    assert not right


def test_the_script_of_each_planted_mistake_prints_the_numbers_of_the_finding(planted_ends):
    compared = 0
    for name, finding, (_, said), _ in planted_ends:
        if finding.analytic is None:
            continue
        expected = [finding.analytic, finding.numeric]
        np.testing.assert_allclose(values(said), expected, rtol=1e-6, atol=1e-9, err_msg=name)
        compared += 1
    assert compared >= 8


# The reference engine's Functions ------------------------------------------------------------------------------------


class Mode(enum.Enum):
    """An argument that is no number."""

    HALF = 1
    WHOLE = 2


def scaled(x, by=FACTOR):
    return _doubled(x) * by


def _doubled(x):
    return x + x


class Scaled(Function):
    """Names a constant, functions and an enum of its module; the gradient lacks a factor."""

    @staticmethod
    def forward(ctx, xs, mode, options):
        return scaled(xs, options["by"][0]) if mode is Mode.WHOLE else xs * FACTOR

    @staticmethod
    def backward(ctx, g):
        return g * FACTOR, None, None


@pytest.fixture(scope="module")
def reference_ends(tmp_path_factory):
    found = [finding_of(function, POINT, claims=code) for function, code in CLAIMS]
    sources = []
    for finding, (function, _) in zip(found, CLAIMS, strict=True):
        source, problem = function_script(finding, function=function, arguments=(POINT,), engine="refengine")
        assert not problem, (function, problem)
        sources.append(source)
    results = ends(tmp_path_factory.mktemp("reference"), sources, "torch")
    return list(zip(found, sources, results, strict=True))


def test_each_claim_has_a_script_that_exits_1(reference_ends):
    assert [(finding.code, code) for finding, _, (code, _) in reference_ends] == [(code, 1) for _, code in CLAIMS]


def test_it_prints_the_values_of_the_finding(reference_ends):
    for finding, _, (_, said) in reference_ends:
        if finding.analytic is not None:
            np.testing.assert_allclose(values(said), [finding.analytic, finding.numeric], rtol=1e-6, err_msg=said)


def test_it_says_what_a_backward_raised(reference_ends):
    said = reference_ends[1][2][1]
    assert said == "the backward pass raised ValueError: not today\n"


def test_it_is_short_enough_to_be_read(reference_ends):
    for _, source, _ in reference_ends:
        assert len(source.splitlines()) <= 150
        assert max(map(len, source.splitlines())) <= 130


def test_it_says_on_top_which_claim_does_not_hold_and_where(reference_ends):
    first, _, third = reference_ends[0][1].splitlines()[:3]
    assert first.startswith('"""GC101 vjp_matches_numeric: ')
    assert "Square.apply(x0) (" in third
    assert "in Square.backward)" in third


@pytest.mark.parametrize(("wrong", "right", "code", "arguments"), TWINS, ids=[wrong.__name__ for wrong, *_ in TWINS])
def test_of_modes_kinks_and_third_derivatives_there_are_scripts_that_the_right_twin_ends_with_0(
    wrong, right, code, arguments, tmp_path
):
    finding = finding_of(wrong, *arguments, claims=code)
    source, problem = function_script(finding, function=wrong, arguments=arguments, engine="refengine")
    assert (finding.code, problem) == (code, "")
    changed = mended(source, wrong, right)
    assert changed != source
    shown, (code, said) = ends(tmp_path, [source, changed], "torch")
    assert shown[0] == 1
    numbers = [float(line.split()[1]) for line in shown[1].splitlines() if not line.startswith("slopes")]
    np.testing.assert_allclose(numbers, [finding.analytic, finding.numeric], rtol=1e-4)
    assert code == 0, said
    assert "agrees now" in said


# What a Function names -----------------------------------------------------------------------------------------------


def test_it_says_on_top_that_it_is_wrong_at_one_point_only():
    class AtZero(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.exp()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x.exp() * (x != 0.0)

    source, problem = script_of(AtZero, POINT, claims="GC101")
    assert not problem
    assert "Wrong at this point only: beside it the gradients agree." in source.splitlines()[:8]


def test_constants_functions_and_enums_of_the_module_come_along():
    source, problem = script_of(Scaled, POINT, Mode.WHOLE, {"by": [3.0, slice(0, 2)]})
    assert not problem
    assert "Scaled.apply(x0, Mode.WHOLE, {" in source
    for piece in ("FACTOR = 2.0", "class Mode(enum.Enum):", "def scaled(", "def _doubled(", "import enum"):
        assert source.count(piece) == 1, piece
    assert "pytest" not in source


def test_a_class_made_in_a_test_brings_its_closure_and_its_base():
    power = 3

    class Base(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**power

    class Power(Base):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x ** (power - 1)

    source, problem = script_of(Power, POINT)
    assert not problem
    assert "\npower = 3\n" in source
    assert source.index("class Base(Function)") < source.index("class Power(Base)")


# A script has things of these names, too.
WANTED = 3.0
K = 2.0


def value(x):
    return x * K * WANTED


class Named(Function):
    """Names what a script's own things are called."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return value(x) * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * value(x)


def test_names_of_the_users_are_kept_and_those_of_the_script_give_way(tmp_path):
    finding = finding_of(Named, POINT)
    source, problem = function_script(finding, function=Named, arguments=(POINT,), engine="refengine")
    assert not problem
    assert "\nWANTED = 3.0\n" in source
    assert "\nWANTED_ = [0]" in source
    code, said = ends(tmp_path, [source], "torch")[0]
    assert code == 1
    assert values(said) == pytest.approx([finding.analytic, finding.numeric])


class Pair(Function):
    """Wrong where the first input alone requires grad."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return (g * y, g * x) if ctx.needs_input_grad[1] else (g * x, None)


def test_the_inputs_that_require_grad_where_it_fails_are_named(tmp_path):
    x, y, one = np.array([2.0]), np.array([5.0]), np.array([1.0])
    shown = Evidence((x, y), (True, True), (one,), position=0, subset=(True, False))
    finding = replace(
        finding_of(Square, POINT), code="GC603", evidence=shown, entry=(0,), analytic=2.0, numeric=5.0, error=0.0
    )
    source, problem = function_script(
        finding, function=Pair, arguments=(re.tensor([2.0]), re.tensor([5.0])), engine="refengine"
    )
    assert not problem, problem
    code, said = ends(tmp_path, [source], "torch")[0]
    assert (code, values(said)) == (1, [2.0, 5.0])


PACKAGE = """
    import threading

    import refengine
    from refengine.autograd import Function

    LOCK = threading.Lock()


    class Locked(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            with LOCK:
                (x,) = ctx.saved_tensors
                return g * x
"""


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A Function whose source cannot stand alone, in a package below src/."""
    place = tmp_path / "src" / "locked_package"
    place.mkdir(parents=True)
    (place / "__init__.py").touch()
    (place / "ops.py").write_text(textwrap.dedent(PACKAGE), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    yield importlib.import_module("locked_package.ops").Locked
    for name in ("locked_package", "locked_package.ops"):
        sys.modules.pop(name)


def test_what_cannot_be_written_is_imported_from_where_it_lies(locked, tmp_path):
    source, problem = script_of(locked, POINT, root=tmp_path)
    assert not problem
    assert "sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'src'))" in source
    assert "from locked_package.ops import Locked" in source
    folder = tmp_path / ".gradcheck" / "repro"
    folder.mkdir(parents=True)
    assert ends(folder, [source])[0][0] == 1


def test_a_function_that_can_neither_be_written_nor_imported_has_a_reason():
    import threading

    lock = threading.Lock()

    class Held(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            with lock:
                return g

    source, problem = script_of(Held, POINT)
    assert not source
    assert problem.startswith("lock, a lock")
    assert "made inside a function" in problem


def test_an_argument_that_is_no_text_is_named():
    class Given(Function):
        @staticmethod
        def forward(ctx, x, anything):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g, None

    source, problem = script_of(Given, POINT, re.nn.Linear(2, 2))
    assert (source, problem) == ("", "argument 1 is a Linear, which a script cannot write down")


# Values and layouts --------------------------------------------------------------------------------------------------


def tensors_of(finding, name="point"):
    """What a script's function of that name returns."""
    source, problem = function_script(finding, function=Square, arguments=(POINT,), engine="refengine")
    assert not problem
    namespace = {"__name__": "script"}
    with pytest.raises(SystemExit):
        exec(source, namespace)
    return namespace[name]()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x.T.copy().T,
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.ascontiguousarray(x.T)[None].transpose(2, 0, 1),
    ],
    ids=["contiguous", "transposed", "expanded", "gapped", "permuted"],
)
def test_inputs_have_their_layout_and_every_bit_of_their_values(change):
    x = change(np.random.default_rng(0).standard_normal((2, 3)) / 3.0)
    finding = finding_of(Square, POINT)
    ones = np.zeros(x.shape)
    ones[(0,) * x.ndim] = 1.0
    value = float(x[(0,) * x.ndim])
    shown = Evidence((x,), (True,), (ones,), position=0)
    changed = replace(finding, evidence=shown, entry=(0,) * x.ndim, analytic=value, numeric=2.0 * value)
    (tensor,) = tensors_of(changed)
    assert np.array_equal(tensor.numpy(), x)
    wanted = [s // 8 for s, n in zip(x.strides, x.shape, strict=True) if n > 1]
    assert [s for s, n in zip(tensor.stride(), x.shape, strict=True) if n > 1] == wanted


def test_float32_stays_float32_in_short():
    finding = finding_of(Square, POINT)
    x = np.array([0.1, 2.0], dtype=np.float32)
    shown = Evidence((x,), (True,), (np.array([1.0, 0.0], dtype=np.float32),), position=0)
    changed = replace(finding, evidence=shown, entry=(0,), analytic=0.1, numeric=0.2, error=1e-4)
    source, problem = function_script(changed, function=Square, arguments=(POINT,), engine="refengine")
    assert not problem
    assert "refengine.tensor([0.1, 2.0], dtype=refengine.float32)" in source


def test_a_projection_is_applied_inside_the_function():
    source, problem = script_of(Square, re.tensor([[2.0, 1.0], [1.0, 3.0]]), prepare={0: "(x0 + x0.mT) / 2"})
    assert not problem, problem
    assert "    x0 = (x0 + x0.mT) / 2\n    return [Square.apply(x0)]" in source


def test_too_many_numbers_are_not_written():
    finding = finding_of(Square, POINT)
    shown = replace(finding.evidence, inputs=(np.ones((200, 200)),))
    changed = replace(finding, evidence=shown)
    source, problem = function_script(changed, function=Square, arguments=(POINT,), engine="refengine")
    assert (source, problem[:31]) == ("", "it takes 40,001 numbers to show")


def test_a_finding_without_arrays_has_no_script():
    finding = replace(finding_of(Square, POINT), evidence=None)
    source, problem = function_script(finding, function=Square, arguments=(POINT,), engine="refengine")
    assert (source, problem) == ("", "GC101 has no arrays to show it with")


def test_a_mistake_that_is_gone_has_no_script():
    finding = finding_of(Square, POINT)

    class Right(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g * x

    source, problem = function_script(finding, function=Right, arguments=(POINT,), engine="refengine")
    assert not source
    assert "a script does not show it" in problem


def test_writing_a_script_leaves_the_surroundings_alone():
    finding = finding_of(Square, POINT)
    re.manual_seed(7)
    state, path, dtype = re.get_rng_state(), list(sys.path), re.get_default_dtype()
    re.set_default_dtype(re.float64)
    try:
        function_script(finding, function=Square, arguments=(POINT,), engine="refengine", default_dtype="float64")
        assert re.get_default_dtype() == re.float64
    finally:
        re.set_default_dtype(dtype)
    assert (re.get_rng_state() == state).all()
    assert sys.path == path
    assert "_stand_alone_script" not in sys.modules
