"""Running programs under watch: what shares memory otherwise than where it was drawn is no longer the same program."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.engines.refengine import ReferenceEngine
from gradcheck.failures import Unsupported
from gradcheck.program import Input, Program, Ref, Step
from gradcheck.sharing import runner_of

ENGINE = ReferenceEngine()
X, V0, V1, V2 = Ref("x", 0), Ref("v", 0), Ref("v", 1), Ref("v", 2)
PLAIN = np.array([[1.0, 2.0], [3.0, 4.0]])


def written_after_reshape(*, view: bool) -> Program:
    """``v0 = x0 * 1; v1 = v0.reshape(4); v1.mul_(2); return v0``; `view` is what v1 was where it was drawn."""
    steps = (
        Step("mul", (X, 1.0)),
        Step("reshape", (V0, (4,)), view=view),
        Step("mul", (V1, 2.0), inplace=True, view=True),
    )
    return Program((Input(PLAIN),), (), steps, (V0,))


def test_a_program_runs_where_values_share_memory_as_drawn() -> None:
    run = runner_of(written_after_reshape(view=True), ENGINE)
    (out,) = run(ENGINE.tensor(PLAIN, requires_grad=True))
    assert out.tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_a_view_that_was_drawn_as_a_copy_is_refused() -> None:
    run = runner_of(written_after_reshape(view=False), ENGINE)
    with pytest.raises(Unsupported, match="share memory"):
        run(ENGINE.tensor(PLAIN, requires_grad=True))


def test_a_copy_that_was_drawn_as_a_view_is_refused() -> None:
    run = runner_of(written_after_reshape(view=True), ENGINE)
    with pytest.raises(Unsupported, match="share memory"):
        run(ENGINE.tensor(PLAIN.T, requires_grad=True))


def test_without_an_inplace_step_any_layout_will_do() -> None:
    steps = (Step("reshape", (X, (4,)), view=True),)
    run = runner_of(Program((Input(PLAIN),), (), steps, (V0,)), ENGINE)
    assert run(ENGINE.tensor(PLAIN.T))[0].tolist() == [1.0, 3.0, 2.0, 4.0]
