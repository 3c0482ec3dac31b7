"""When a class made again is the same Function."""

from __future__ import annotations

from tests.observation.functions import double, library_fixture, names, observing  # noqa: F401


def _closing_over(library, value, helper=None):
    class Closing(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2 if helper is None else helper(x) * value

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return Closing


def _with_itself(library):
    class Itself(library.autograd.Function):
        factor = 2.0

        @staticmethod
        def forward(ctx, x, deep=False):
            return x * Itself.factor

        @staticmethod
        def backward(ctx, g):
            return g * Itself.factor, None

    return Itself


def _with_a_base(library):
    class Derived(double(library)):
        @staticmethod
        def backward(ctx, g):
            return g * 2

    return Derived


def _counts(library, *functions):
    """How many calls each Function told apart has, after one call of each class."""
    with observing() as observer:
        for make in functions:
            make().apply(library.ones(2))
        return [observed.calls for observed in observer.touched()]


def test_a_class_made_again_is_the_same(library):
    for make in (double, _with_itself, _with_a_base):
        assert _counts(library, *[lambda make=make: make(library)] * 3) == [3]


def test_equal_numbers_and_strings_are_the_same(library):
    assert _counts(library, *(lambda v=v: _closing_over(library, v) for v in (1.0, 1.0, 2.0, "a", "a"))) == [2, 1, 2]


def test_other_objects_are_told_apart(library):
    def first(x):
        return x

    def second(x):
        return x + 0

    helpers = (first, first, second)
    assert _counts(library, *(lambda h=h: _closing_over(library, 2.0, h) for h in helpers)) == [2, 1]
    tensors = [library.ones(1), library.ones(1)]
    assert _counts(library, *(lambda t=t: _closing_over(library, t) for t in tensors)) == [1, 1]


def test_an_attribute_set_in_the_class_tells_apart(library):
    def made(factor):
        function = _with_itself(library)
        function.factor = factor
        return function

    # Set after the class was made, so that both were the same by then; the first one is judged.
    assert _counts(library, lambda: made(2.0), lambda: made(3.0)) == [2]


def test_a_class_of_the_same_name_and_other_code_is_another(library):
    def one():
        class Same(library.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

        return Same

    def other():
        class Same(library.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 3

        Same.__qualname__ = one().__qualname__
        return Same

    assert _counts(library, one, other) == [1, 1]
