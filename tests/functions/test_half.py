"""Functions that are called in half precision are judged by their gradients in float64 or float32, and in it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from gradcheck.report.function import Status  # noqa: E402
from tests.functions import half_functions  # noqa: E402
from tests.functions.observed import judge  # noqa: E402

WHERE = [(torch.bfloat16, True), (torch.bfloat16, False), (torch.float16, True)]


@pytest.mark.parametrize("name", half_functions.NAMES)
@pytest.mark.parametrize(("dtype", "inside"), WHERE)
def test_right_functions_agree_to_more_than_half_precision_has(dtype, inside, name):
    result = half_functions.judged(name, dtype, inside, "right", 0)
    assert result.status is Status.AGREED
    assert result.resolution <= (1e-3 if inside else 1e-6)


@pytest.mark.parametrize(("kind", "code"), [("2 %", "GC101"), ("half alone", "GC702")])
@pytest.mark.parametrize("name", ["layer norm", "square"])
@pytest.mark.parametrize(("dtype", "inside"), WHERE)
def test_two_percent_are_seen(dtype, inside, name, kind, code):
    result = half_functions.judged(name, dtype, inside, kind, 0)
    assert (result.status, result.code) == (Status.DISAGREED, code)
    assert result.script


class WrongInHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (2.1 if x.dtype == torch.float16 else 2.0) * g * x


class FloatOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if x.dtype.itemsize == 2:
            raise TypeError("no half precision")
        return x * 3.0

    @staticmethod
    def backward(ctx, g):
        return g * 3.0


@pytest.mark.parametrize(("domain", "status"), [(None, Status.AGREED), ((0.5, 4.0), Status.DISAGREED)])
def test_what_is_never_called_in_half_precision_is_tried_in_it_where_a_domain_is_stated(domain, status):
    x = torch.tensor([0.5, 1.25, 3.0], requires_grad=True)
    assert judge(lambda: WrongInHalf.apply(x), domain=domain).status is status


def test_what_refuses_half_precision_there_is_right_all_the_same():
    x = torch.tensor([0.5, 1.25, 3.0], requires_grad=True)
    assert judge(lambda: FloatOnly.apply(x), domain=(0.5, 4.0)).status is Status.AGREED
