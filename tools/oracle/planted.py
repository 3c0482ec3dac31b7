"""Planted mistakes: who catches each, whether its right twin raises an alarm, what the diagnosis calls it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.oracle.judges import AGREE, REFUSED, Answer, jax_check_grads, torch_gradcheck
from tools.oracle.pool import Asked, Task, spread

# The right twin is asked with one seed in so many: it takes the whole of its allowance each time.
TWIN_SHARE = 4


@dataclass(slots=True)
class Plant:
    """One mistake over all seeds.

    Attributes
    ----------
    engine, name, group, mistake : str
    seeds, caught, named : int
        How often it was asked, caught by one of the claims that must, and called what it is.
    twins, alarms : int
        How often the right twin was asked, and called wrong.
    alarm_codes, said : list of str
        The claims that failed on the twin; what else the diagnosis said.
    peers : dict of str to bool
        Who else tells the two apart.
    seconds : float
    """

    engine: str
    name: str
    group: str
    mistake: str
    seeds: int = 0
    caught: int = 0
    named: int = 0
    twins: int = 0
    alarms: int = 0
    alarm_codes: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    peers: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0


def measure(asked: Asked, say: Callable[[str], None]) -> list[Plant]:
    """All mistakes of the engines that are installed, with as many seeds as asked for."""
    from tests.planted import harness

    names = [(one.engine, one.name) for one in harness.everything()]
    tasks = [Task(f"{engine} {name}", planted, (engine, name, asked.seed, asked.seeds)) for engine, name in names]
    found = {(one.engine, one.name): one for one in spread(tasks, asked.jobs, say)}
    return [found[key] for key in names]


def planted(engine: str, name: str, seed: int, seeds: int) -> Plant:
    """One mistake, its twin, and the peers."""
    from tests.planted import harness

    one = harness.get(engine, name)
    found = Plant(engine, name, one.group, str(one.mistake))
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(seed, seed + seeds):
            _ask(found, harness, one, number, twin=(number - seed) % TWIN_SHARE == 0)
    found.seconds = time.process_time() - start
    found.peers = _peers(one)
    if engine == "jax":
        _forget()
    return found


def _forget() -> None:
    """Drop what JAX compiled, of which the next mistake uses nothing: gigabytes after a hundred questions."""
    import jax

    jax.clear_caches()


def _ask(found: Plant, harness: Any, one: Any, seed: int, *, twin: bool) -> None:
    result = harness.caught(one, seed)
    found.seeds += 1
    found.caught += result.caught
    found.named += result.caught and result.mistake == one.mistake
    said = "nothing" if result.mistake is None else str(result.mistake)
    if result.caught and result.mistake != one.mistake and said not in found.said:
        found.said.append(said)
    if twin:
        codes = harness.alarms(one, seed)
        found.twins += 1
        found.alarms += bool(codes)
        found.alarm_codes = sorted({*found.alarm_codes, *codes})


def _peers(one: Any) -> dict[str, bool]:
    """Who accepts the right twin and not the wrong one, at the call's own inputs."""
    judges: dict[str, Callable[[Any], Answer]] = {}
    if one.engine == "torch":
        judges = {
            "gradcheck slow": lambda f: torch_gradcheck(f, _leaves(one)),
            "gradcheck fast": lambda f: torch_gradcheck(f, _leaves(one), fast_mode=True),
            "gradcheck, then gradgradcheck": lambda f: _first_bad(
                torch_gradcheck(f, _leaves(one)), lambda: torch_gradcheck(f, _leaves(one), second=True)
            ),
        }
    elif one.engine == "jax":
        judges = {"JAX check_grads": lambda f: _in_double(f, one.inputs)}
    return {name: _tells_apart(judge, one) for name, judge in judges.items()}


def _first_bad(first: Answer, second: Callable[[], Answer]) -> Answer:
    return second() if first.word == AGREE else first


def _tells_apart(judge: Callable[[Any], Answer], one: Any) -> bool:
    """An exception of another kind than that for a wrong gradient tells too, where the twin raises none."""
    right, wrong = judge(one.right), judge(one.wrong)
    return wrong.word != AGREE and right.word in (AGREE, REFUSED) and right != wrong


def _in_double(function: Any, inputs: Sequence[Any]) -> Answer:
    """What JAX's check says in double precision, where it sees most."""
    import jax

    with jax.enable_x64(True):
        return jax_check_grads(function, [x.astype("float64") for x in inputs])


def _leaves(one: Any) -> list[Any]:
    """The inputs as a careful user gives them to gradcheck: floating ones in double precision, requiring grad."""
    import torch

    return [
        x.detach().double().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for x in one.inputs
    ]
