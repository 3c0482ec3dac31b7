"""Which calls are noticed, what is kept of them, and that stopping leaves nothing behind."""

from __future__ import annotations

import re
import threading

import pytest

from gradcheck.observation import observer as module
from tests.observation.functions import double, library_fixture, names, observing, ones, scaled  # noqa: F401


def test_apply_bound_before_the_start_is_seen(library):
    apply = double(library).apply
    with observing() as observer:
        apply(ones(library, 2))
        assert names(observer.touched()) == ["Double"]


def test_a_class_made_after_the_start_is_seen(library):
    with observing() as observer:
        double(library).apply(ones(library, 2))
        (observed,) = observer.touched()
    assert observed.calls == 1
    assert observed.call.arguments[0].tolist() == [1.0, 1.0]
    assert observed.engine == library.__name__
    assert observed.name.endswith("functions:double.<locals>.Double")


def test_touched_gives_what_was_called_since_in_order(library):
    with observing() as observer:
        first, second = double(library), scaled(library)
        second.apply(ones(library, 2))
        first.apply(ones(library, 2))
        second.apply(ones(library, 2))
        assert names(observer.touched()) == ["Scaled", "Double"]
        assert observer.touched() == ()
        first.apply(ones(library, 2))
        (again,) = observer.touched()
    assert again.calls == 2


def test_the_new_style_keeps_arguments_without_a_context(library):
    with observing() as observer:
        scaled(library).apply(ones(library, 2), 4.0)
        (observed,) = observer.touched()
    assert observed.call.arguments[1:] == (4.0,)
    assert observed.signature_text == "x0 float32 (1-d), 4.0"


def test_arguments_given_by_name_are_kept_by_position(library):
    with observing() as observer:
        scaled(library).apply(ones(library, 2), factor=5.0)
        (observed,) = observer.touched()
    assert observed.call.arguments[1:] == (5.0,)


def test_an_inherited_forward_counts_for_the_class_that_was_applied(library):
    base = double(library)

    class Tripled(base):
        @staticmethod
        def backward(ctx, g):
            return g * 3

    with observing() as observer:
        Tripled.apply(ones(library, 2)).sum().backward()
        (observed,) = observer.touched()
        assert observed.function is Tripled
        assert names(observer.known()).count("Double") == 0 or base is not observed.function


def test_calling_the_forward_of_a_base_does_not_count(library):
    base = double(library)

    class Super(base):
        @staticmethod
        def forward(ctx, x):
            return super(Super, Super).forward(ctx, x)

    class ByHand(base):
        @staticmethod
        def forward(ctx, x):
            return base.forward(ctx, x)

    with observing() as observer:
        Super.apply(ones(library, 2))
        ByHand.apply(ones(library, 2))
        assert names(observer.touched()) == ["Super", "ByHand"]


def test_an_inherited_forward_of_a_foreign_base_is_seen(library):
    base = double(library)
    base.__module__ = library.__name__

    class Own(base):
        @staticmethod
        def backward(ctx, g):
            return g * 3

    with observing() as observer:
        x = ones(library, 2)
        Own.apply(x).sum().backward()
        base.apply(x)
        assert names(observer.touched()) == ["Own"]
        assert "forward" in vars(Own)
    assert x.grad.tolist() == [3.0, 3.0]
    assert "forward" not in vars(Own)


def test_a_function_within_a_function_counts_too(library):
    inner = double(library)

    class Outer(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return inner.apply(x) * 2

        @staticmethod
        def backward(ctx, g):
            return inner.apply(g) * 2

    with observing() as observer:
        x = ones(library, 2)
        out = Outer.apply(x)
        assert names(observer.touched()) == ["Outer", "Double"]
        out.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_forward_that_is_a_class_method_or_plain_is_seen(library):
    class Class(library.autograd.Function):
        @classmethod
        def forward(cls, ctx, x):
            assert cls is Class
            return x * 2

        @classmethod
        def backward(cls, ctx, g):
            return g * 2

    class Plain(library.autograd.Function):
        def forward(ctx, x):
            return x * 2

        def backward(ctx, g):
            return g * 2

    with observing() as observer:
        for function in (Class, Plain):
            x = ones(library, 2)
            function.apply(x).sum().backward()
            assert x.grad.tolist() == [2.0, 2.0]
        kept = observer.touched()
        assert names(kept) == ["Class", "Plain"]
        assert [len(observed.call.arguments) for observed in kept] == [1, 1]


def test_values_changed_after_the_call_do_not_change_the_copy(library):
    with observing() as observer:
        x = library.ones(3)
        double(library).apply(x)
        x.fill_(7.0)
        (observed,) = observer.touched()
    assert observed.call.arguments[0].tolist() == [1.0] * 3


def test_arguments_changed_by_forward_are_copied_as_they_were(library):
    class Zeroed(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.zero_()
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 0

    with observing() as observer:
        Zeroed.apply(library.ones(3))
        (observed,) = observer.touched()
    assert observed.call.arguments[0].tolist() == [1.0] * 3


def test_tensors_in_lists_and_dicts_are_copied(library):
    class Nested(library.autograd.Function):
        @staticmethod
        def forward(ctx, x, more):
            return x + more["list"][0]

        @staticmethod
        def backward(ctx, g):
            return g, None

    with observing() as observer:
        y = library.ones(2)
        Nested.apply(ones(library, 2), {"list": [y]})
        y.fill_(5.0)
        (observed,) = observer.touched()
    assert observed.call.arguments[1]["list"][0].tolist() == [1.0, 1.0]
    assert len(observed.facts) == 2
    assert observed.required == (True, False)


def test_one_signature_is_kept_once_with_the_facts_of_all_calls(library):
    with observing() as observer:
        function = double(library)
        for value in (1.0, -2.0, 3.0):
            function.apply(library.full((2, 2), value))
        (observed,) = observer.touched()
    assert observed.calls == 3
    assert (observed.facts[0].low, observed.facts[0].high) == (-2.0, 3.0)
    assert observed.call.arguments[0].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_signatures_differ_by_dtype_rank_axes_of_size_one_layout_and_what_requires_grad(library):
    with observing() as observer:
        function = double(library)
        square = library.ones(2, 3)
        calls = (
            square,
            library.ones(5, 7),
            library.ones(2),
            square.double(),
            square.transpose(0, 1),
            library.ones(1, 3).expand(2, 3),
            library.ones(0, 3),
            ones(library, 2, 3),
            library.ones(1, 3),
        )
        for tensor in calls:
            function.apply(tensor)
        texts = [observed.signature_text for observed in observer.touched()]
    assert texts == [
        "x0 float32 (2-d)",
        "x0 float32 (1-d)",
        "x0 float64 (2-d)",
        "x0 float32 (2-d, strided)",
        "x0 float32 (2-d, expanded)",
        "x0 float32 (2-d, empty)",
        "x0 float32 (2-d)",
        "x0 float32 (2-d, size 1 along 0)",
    ]


def test_values_without_an_equal_count_by_their_type(library):
    class Taking(library.autograd.Function):
        @staticmethod
        def forward(ctx, x, value):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2, None

    class Unequal:
        __hash__ = object.__hash__

        def __eq__(self, other):
            raise ValueError

    class Unhashable:
        def __hash__(self):
            raise TypeError

    x = library.ones(2)
    values = [
        *(lambda: 1, lambda: 2),
        *(Unequal(), Unequal()),
        *(Unhashable(), Unhashable()),
        *(float("nan"), float("nan")),
        *(1, 1, True, 1.0),
        *(library.float32, library.float64),
    ]
    with observing() as observer:
        for value in values:
            Taking.apply(x, value)
        counts = [observed.calls for observed in observer.touched()]
    assert counts == [2, 2, 2, 2, 2, 1, 1, 1, 1]


def test_no_floating_input_is_a_reason(library):
    with observing() as observer:
        double(library).apply(library.arange(3))
        (observed,) = observer.touched()
    assert observed.call is None
    assert observed.reason == "no floating input"


def test_the_memory_limit_is_a_reason(library):
    with observing(limit_bytes=100) as observer:
        function = double(library)
        function.apply(library.ones(20))
        function.apply(library.ones(4, 5))
        first, second = observer.touched()
        assert (first.reason, second.reason) == ("", "memory limit")
        assert second.call is None
        observer.release(first)
        function.apply(library.ones(5, 4))
        (again,) = observer.touched()
    assert again is second
    assert tuple(again.call.arguments[0].shape) == (5, 4)


def test_signatures_beyond_the_limit_are_counted(library):
    with observing() as observer:
        function = scaled(library)
        for factor in range(module._SIGNATURES + 5):
            function.apply(library.ones(2), float(factor))
        *kept, last = observer.touched()
    assert len(kept) == module._SIGNATURES
    assert (last.call, last.calls) == (None, 5)
    assert last.reason == module.SIGNATURES


def test_nothing_is_noted_while_paused(library):
    with observing() as observer:
        function = double(library)
        with observer.paused():
            function.apply(ones(library, 2))
        assert observer.touched() == ()


def test_create_graph_is_seen_in_backward(library):
    with observing() as observer:
        first, second = double(library), scaled(library)
        for function, create_graph in ((first, True), (second, False)):
            x = ones(library, 2)
            library.autograd.grad(function.apply(x).sum(), x, create_graph=create_graph)
        assert [observed.create_graph for observed in observer.touched()] == [True, False]


def test_once_differentiable_keeps_working(library):
    once = library.autograd.function.once_differentiable

    class Once(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        @once
        def backward(ctx, g):
            return g * 2

    with observing() as observer:
        x = ones(library, 2)
        (found,) = library.autograd.grad((Once.apply(x) * x).sum(), x, create_graph=True)
        assert found.tolist() == [3.0, 3.0]
        with pytest.raises(RuntimeError, match="once_differentiable"):
            found.sum().backward()
        (observed,) = observer.touched()
        assert observed.create_graph
        (where,) = [known.where for known in observer.known() if known.name == observed.name and known.calls]
    assert where.endswith("in Once.backward")
    assert "test_observer.py:" in where


def test_a_backward_called_by_hand_marks_the_function_that_was_applied(library):
    borrowed = double(library)

    class Borrowing(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return borrowed.backward(ctx, g)

    with observing() as observer:
        borrowed.apply(library.ones(2))
        x = ones(library, 2)
        library.autograd.grad(Borrowing.apply(x).sum(), x, create_graph=True)
        assert [observed.create_graph for observed in observer.touched()] == [False, True]


def test_stopping_restores_exactly_what_was_there(library):
    def everything(functions):
        return [dict(vars(function)) for function in functions]

    base = double(library)

    class Inheriting(base):
        pass

    functions = [base, Inheriting, scaled(library), library.autograd.Function, type(library.autograd.Function)]
    if library.__name__ == "torch":
        functions.append(library.autograd.function.FunctionMeta)
    before = everything(functions)
    with observing() as observer:
        base.apply(library.ones(2))
        assert vars(base)["forward"] is not before[0]["forward"]
    after = everything(functions)
    assert [list(d) for d in after] == [list(d) for d in before] or [set(d) for d in after] == [set(d) for d in before]
    assert all(a[key] is b[key] for a, b in zip(after, before, strict=True) for key in b)
    observer.touched()
    base.apply(library.ones(2))
    double(library).apply(library.ones(2))
    assert observer.touched() == ()


def test_a_forward_that_the_test_replaced_stays(library, monkeypatch):
    function = double(library)
    with observing():
        function.forward = staticmethod(lambda ctx, x: x * 5)
    assert function.apply(library.ones(1)).tolist() == [5.0]


def test_an_exception_in_forward_reaches_the_caller_with_one_frame_more(library):
    class Raising(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            raise KeyError("mine")

        @staticmethod
        def backward(ctx, g):
            return g

    def frames():
        with pytest.raises(KeyError, match="mine") as caught:
            Raising.apply(library.ones(2))
        return len(caught.traceback)

    before = frames()
    with observing():
        assert frames() == before + 1


def test_an_error_in_noting_is_a_reason_and_never_the_users(library, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    with observing() as observer:
        function = double(library)
        monkeypatch.setattr(module, "signature_of", broken)
        assert function.apply(library.ones(2)).tolist() == [2.0, 2.0]
        reasons = [known.reason for known in observer.known() if known.calls]
    assert reasons == ["could not be noted: ZeroDivisionError: ours"]


def test_a_call_that_cannot_be_copied_says_why(library, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    with observing() as observer:
        monkeypatch.setattr(module, "copied", broken)
        double(library).apply(library.ones(2))
        (observed,) = observer.touched()
    assert observed.call is None
    assert observed.reason == "could not be copied: ZeroDivisionError: ours"


def test_what_is_known_has_calls_and_reasons(library):
    with observing() as observer:
        used, unused = double(library), scaled(library)
        used.apply(library.ones(2))
        found = {known.name.rpartition(".")[2]: known for known in observer.known() if known.calls}
        assert found["Double"].calls == 1
        assert re.search(r"observation.functions\.py:\d+ in Double\.backward$", found["Double"].where)
        del unused


def test_an_ignored_function_is_counted_only(library):
    function = double(library)
    name = f"{function.__module__}:{function.__qualname__}"
    with observing(ignored=frozenset({name})) as observer:
        function.apply(library.ones(2))
        assert observer.touched() == ()
        (known,) = [known for known in observer.known() if known.calls]
    assert known.ignored
    assert known.reason == "ignored"


def test_the_random_state_of_the_call_is_kept(library):
    from gradcheck.engines.registry import engine

    class Noisy(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x + library.rand(2)

        @staticmethod
        def backward(ctx, g):
            return g

    with observing() as observer:
        x = library.zeros(2)
        first = Noisy.apply(x)
        (observed,) = observer.touched()
        engine(library.__name__).set_random_state(observed.call.random_state)
        with observer.paused():
            assert Noisy.apply(x).tolist() == first.tolist()


def test_observing_leaves_the_random_state_alone(library):
    library.manual_seed(3)
    first = library.rand(2).tolist()
    library.manual_seed(3)
    with observing():
        double(library).apply(library.ones(2))
    assert library.rand(2).tolist() == first


def test_calls_of_several_threads_are_all_counted(library):
    with observing() as observer:
        function = double(library)

        def calling():
            for size in range(2, 31):
                function.apply(library.ones(*(1,) * (size % 3), size))

        threads = [threading.Thread(target=calling) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = observer.touched()
    assert sum(observed.calls for observed in found) == 4 * 29
    assert len(found) == 3


def test_pausing_holds_for_its_own_thread(library):
    with observing() as observer:
        function = double(library)
        other = threading.Thread(target=lambda: function.apply(library.ones(2)))
        with observer.paused():
            other.start()
            other.join()
        assert [observed.calls for observed in observer.touched()] == [1]
