"""Which Functions are found, however they are written, bound and imported, and which are none of the user's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.scenarios.material import CUBE, HALF_SQUARE, NEW_CUBE, SQUARE, call, named, wrong
from tests.scenarios.stranger import REFENGINE, TORCH, Stranger

torch = pytest.importorskip("torch")

X = "torch.tensor([0.5, -1.5, 2.0], requires_grad=True)"
RE_X = "re.tensor([0.5, -1.5, 2.0], requires_grad=True)"


def test_a_function_that_a_conftest_imports_is_observed(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.write("conftest.py", "from pkg import ops  # noqa")
    stranger.tests(call("Square"))
    assert stranger.run().failed == ["test_square"]


def test_an_apply_bound_at_import_by_a_conftest_is_observed(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE, CUBE)
    stranger.write("pkg/layers.py", "from pkg.ops import Cube, Square\nsquare = Square.apply\ncube = Cube.apply")
    stranger.write("conftest.py", "from pkg.layers import square, cube  # noqa")
    stranger.tests(
        f"from pkg.layers import square, cube\ndef test_square(): square({X})\ndef test_cube(): cube({X})",
    )
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows["pkg.ops:Cube"] == "agreed"


def test_a_class_made_in_a_test_is_observed(stranger: Stranger) -> None:
    local = "\n".join(f"    {line}" for line in HALF_SQUARE.splitlines())
    stranger.tests(f"def test_local():\n{local}\n    Square.apply({X})")
    seen = stranger.run()
    assert seen.failed == ["test_local"]
    seen.shows("test_ops.py:* in *Square.backward")


def test_a_function_defined_in_a_test_module_is_observed(stranger: Stranger) -> None:
    stranger.tests(HALF_SQUARE, f"def test_square(): Square.apply({X})")
    assert stranger.run().failed == ["test_square"]


@pytest.mark.parametrize("style", ["old", "new"])
@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_both_styles_are_observed(stranger: Stranger, style: str, is_right: bool) -> None:
    source = CUBE if style == "old" else named(NEW_CUBE, "Cube")
    stranger.package(source if is_right else wrong(source, "g * 3", "g * 2"))
    stranger.tests(call("Cube"))
    seen = stranger.run()
    assert seen.failed == ([] if is_right else ["test_cube"])
    assert seen.rows == {"pkg.ops:Cube": "agreed" if is_right else "disagreed"}


# Inheritance and nesting -------------------------------------------------------------------------------------------


def test_an_inherited_forward_counts_for_the_class_that_was_applied(stranger: Stranger) -> None:
    child = """
    class Child(Square):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x
    """
    stranger.package(SQUARE, child)
    stranger.tests(call("Square"), call("Child"))
    seen = stranger.run()
    assert seen.failed == ["test_child"]
    assert seen.rows == {"pkg.ops:Child": "disagreed", "pkg.ops:Square": "agreed"}


def test_a_forward_that_a_subclass_calls_does_not_count_again(stranger: Stranger) -> None:
    child = """
    class Child(Square):
        @staticmethod
        def forward(ctx, x):
            return super(Child, Child).forward(ctx, x) * 3

        @staticmethod
        def backward(ctx, g):
            return super(Child, Child).backward(ctx, g) * 3
    """
    stranger.package(HALF_SQUARE, child.replace("ctx, g) * 3", "ctx, g) * 6"))
    stranger.tests(call("Child"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:Child": "agreed"}


def test_a_function_within_a_function_is_judged_on_its_own(stranger: Stranger) -> None:
    outer = """
    class Outer(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return Square.apply(x) + Square.apply(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x
    """
    stranger.package(SQUARE, outer)
    stranger.tests(call("Outer"))
    seen = stranger.run()
    assert seen.failed == ["test_outer"]
    assert seen.rows == {"pkg.ops:Outer": "disagreed", "pkg.ops:Square": "agreed"}


def test_a_wrong_function_within_a_right_one_is_found(stranger: Stranger) -> None:
    outer = """
    class Outer(Function):
        @staticmethod
        def forward(ctx, x):
            with torch.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = Square.apply(ctx.x)
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, g):
            return 2 * torch.autograd.grad(ctx.y, ctx.x, g, retain_graph=True)[0]
    """
    stranger.package(HALF_SQUARE, outer)
    stranger.tests(call("Outer"))
    seen = stranger.run()
    assert seen.failed == ["test_outer"]
    assert seen.rows == {"pkg.ops:Outer": "agreed", "pkg.ops:Square": "disagreed"}


# Whose code it is --------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package with a wrong Function, on the path."""
    place = tmp_path / "lib" / "site-packages"
    (place / "kernels").mkdir(parents=True)
    (place / "kernels" / "__init__.py").write_text(TORCH + HALF_SQUARE)
    monkeypatch.syspath_prepend(place)
    return "import kernels\n" + call("Square", module="kernels")


def test_a_function_in_an_installed_package_is_not_checked(stranger: Stranger, installed: str) -> None:
    stranger.package(CUBE)
    stranger.tests(installed, call("Cube"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed"}


def test_an_installed_package_that_is_named_is_checked(stranger: Stranger, installed: str) -> None:
    stranger.ini("gradcheck_packages = kernels")
    stranger.tests(installed)
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows == {"kernels:Square": "disagreed"}


def test_a_virtual_environment_below_the_root_is_nobodys(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger.write(".venv/pyvenv.cfg", "home = /usr/bin")
    place = stranger.path / ".venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    stranger.write(str((place / "kernels" / "__init__.py").relative_to(stranger.path)), TORCH, HALF_SQUARE)
    monkeypatch.syspath_prepend(place)
    stranger.package(CUBE)
    stranger.tests("import kernels", call("Square", module="kernels"), call("Cube"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed"}


def test_the_library_itself_is_nobodys(stranger: Stranger) -> None:
    stranger.package(CUBE)
    stranger.tests(
        f"""
        from torch.utils.checkpoint import checkpoint
        def test_cube():
            checkpoint(ops.Cube.apply, {X}, use_reentrant=True).sum().backward()
        """
    )
    assert stranger.run().rows == {"pkg.ops:Cube": "agreed"}


# The reference engine ----------------------------------------------------------------------------------------------


def test_functions_of_the_reference_engine_are_observed(stranger: Stranger) -> None:
    stranger.package(CUBE, HALF_SQUARE, head=REFENGINE)
    stranger.tests(call("Cube", RE_X), call("Square", RE_X), head=REFENGINE)
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert seen.rows == {"pkg.ops:Square": "disagreed", "pkg.ops:Cube": "agreed"}
    seen.shows("GC101", "pkg/ops.py:* in Square.backward")


def test_functions_of_both_engines_are_told_apart(stranger: Stranger) -> None:
    stranger.package(CUBE)
    stranger.package(named(HALF_SQUARE, "Cube"), name="pkg/reference.py", head=REFENGINE)
    stranger.tests(
        call("Cube"), f"from pkg import reference\nimport refengine as re\ndef test_re(): reference.Cube.apply({RE_X})"
    )
    seen = stranger.run()
    assert seen.failed == ["test_re"]
    assert seen.rows == {"pkg.reference:Cube": "disagreed", "pkg.ops:Cube": "agreed"}


# Values and signatures ---------------------------------------------------------------------------------------------

SPLIT = """
class Split(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.where(x > 50, g * x, g * 2 * x)
"""


def test_what_is_changed_after_the_call_does_not_change_the_check(stranger: Stranger) -> None:
    stranger.package(SPLIT)
    stranger.tests("def test_split():\n    x = torch.tensor([60.0, 70.0])\n    ops.Split.apply(x)\n    x.fill_(0.5)")
    seen = stranger.run()
    assert seen.failed == ["test_split"]
    assert "drawn" not in "\n".join(seen.failure("test_split"))


def test_three_hundred_tests_cost_one_check(stranger: Stranger) -> None:
    saved = "ctx.save_for_backward(x)\n"
    counting = "COUNT = 0\n\n" + wrong(CUBE, saved, f"global COUNT\n        COUNT += 1\n        {saved}")
    stranger.package(counting)
    test = f"@pytest.mark.parametrize('n', range({{}}))\ndef test_cube(n): ops.Cube.apply({X})"
    stranger.tests(test.format(300))
    many = stranger.run()
    assert (many.outcomes, many.code) == ({"passed": 300}, 0)
    assert many.rows == {"pkg.ops:Cube": "agreed"}
    stranger.tests(test.format(1))
    one = stranger.run()
    assert stranger.count(many, "COUNT") - 300 == stranger.count(one, "COUNT") - 1


def test_each_signature_is_checked(stranger: Stranger) -> None:
    ranks = wrong(CUBE, "g * 3 * x * x", "g * (3 if x.ndim < 3 else 2) * x * x")
    stranger.package(ranks)
    stranger.tests(
        f"def test_vector(): ops.Cube.apply({X})",
        "def test_cuboid(): ops.Cube.apply(torch.ones(2, 1, 2))",
    )
    seen = stranger.run()
    assert seen.failed == ["test_cuboid"]
    assert seen.rows == {"pkg.ops:Cube": "disagreed"}


def test_what_was_never_called_gets_a_test_to_paste(stranger: Stranger) -> None:
    stranger.package(CUBE, HALF_SQUARE)
    stranger.tests(call("Cube"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 1}, 0)
    assert seen.rows == {"pkg.ops:Cube": "agreed", "pkg.ops:Square": "not checked"}
    seen.shows("from pkg.ops import Square", "def test_square(gradcheck):", "gradcheck(Square.apply, x)")


def test_a_call_without_a_floating_input_is_not_checked(stranger: Stranger) -> None:
    stranger.package(CUBE, SQUARE)
    stranger.tests(call("Cube"), call("Square", "torch.arange(3)"))
    seen = stranger.run()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)
    assert seen.rows["pkg.ops:Square"] == "not checked"
    assert "floating" in seen.row("pkg.ops:Square")


# A run leaves nothing behind ---------------------------------------------------------------------------------------


def is_untouched(function: type) -> bool:
    """Whether a Function, and what makes others, are the author's own."""
    forward = vars(function)["forward"]
    return isinstance(forward, staticmethod) and forward.__func__.__code__.co_filename.endswith("ops.py")


def test_a_plain_run_wraps_nothing(stranger: Stranger) -> None:
    stranger.package(HALF_SQUARE)
    stranger.tests(
        """
        def test_nothing_is_wrapped():
            forward = vars(ops.Square)["forward"]
            assert isinstance(forward, staticmethod)
            assert forward.__func__.__code__.co_filename.endswith("ops.py")
            assert type(Function).__init__.__module__ == "torch.autograd.function"
            assert torch.autograd.gradcheck.__module__ == "torch.autograd.gradcheck"
        """,
        call("Square"),
    )
    seen = stranger.pytest()
    assert (seen.outcomes, seen.code) == ({"passed": 2}, 0)


def test_every_patch_is_undone_at_the_end(stranger: Stranger) -> None:
    made, checks = type(torch.autograd.Function).__init__, torch.autograd.gradcheck
    finders, apply = [*sys.meta_path], torch.autograd.Function.apply
    stranger.package(HALF_SQUARE, named(HALF_SQUARE, "Idle"))
    stranger.write("conftest.py", "from pkg import ops  # noqa")
    stranger.tests(call("Square"))
    seen = stranger.run()
    assert seen.failed == ["test_square"]
    assert is_untouched(stranger.count(seen, "Square"))
    assert is_untouched(stranger.count(seen, "Idle"))
    assert type(torch.autograd.Function).__init__ is made
    assert torch.autograd.gradcheck is checks
    assert torch.autograd.Function.apply == apply
    assert sys.meta_path == finders
