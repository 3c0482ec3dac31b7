"""From options and ini values to what a run does; bad input ends here, in one line."""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

from gradcheck.case import Case
from gradcheck.engines.base import Engine
from gradcheck.events import Target
from gradcheck.failures import GradcheckError, UsageError, said
from gradcheck.plugin.baseline import Baseline
from gradcheck.plugin.options import Options, baseline_of, options_of, setting
from gradcheck.plugin.registry import Registry, registry_of
from gradcheck.plugin.replay import Store
from gradcheck.runner import PROFILES, Bench, Profile, require_same_ops, targets

ROOT = "gradcheck"
"""The first part of every id of the property suite."""
DEFAULT_ENGINE = "refengine"
SEED_KEY = "gradcheck_seed"
"""How the controller of pytest-xdist names the seed to its workers."""
_SUITE_ID = re.compile(rf"(?:.*[/\\])?{ROOT}::(.+)")
_REPLAYED = re.compile(r".*\[replay-([0-9a-f]+)\]")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run does.

    Attributes
    ----------
    engines : tuple of Engine
    executor : Engine
        What programs run on while they are decoded.
    registry : Registry
    profile : Profile
    seed : int
    targets : tuple of Target
        The property suite's items, in order.
    cases : tuple of Case
        What is replayed, instead of `targets`.
    store : Store
    is_named : bool
        The suite was asked for in words, so that it runs beside the user's tests too.
    is_only : bool
        Only the suite and the tests that ask for gradcheck are run.
    has_paths : bool
        The user named files or directories.
    options : Options
        What is asked of users' Functions.
    baseline : Baseline
        The failures that are known.
    """

    engines: tuple[Engine, ...]
    executor: Engine
    registry: Registry
    profile: Profile
    seed: int
    targets: tuple[Target, ...]
    cases: tuple[Case, ...]
    store: Store
    is_named: bool
    is_only: bool
    has_paths: bool
    options: Options
    baseline: Baseline


@contextmanager
def one_line() -> Iterator[None]:
    """Bad input ends pytest with its one line instead of a traceback."""
    try:
        yield
    except GradcheckError as error:
        raise pytest.UsageError(str(error)) from error


def settings_of(config: pytest.Config) -> Settings:
    """Read everything, check it, and take pasted ids of the suite out of the arguments.

    Raises
    ------
    pytest.UsageError
        In one line, for an unknown engine, profile, op, claim or case, and for an engine that is not installed.
    """
    with one_line():
        registry = registry_of(config)
        store = Store(config.rootpath / ".gradcheck" / "cases", config.rootpath / config.getini("gradcheck_corpus"))
        pasted = take_ids(config)
        ids, replays = _without_replays(pasted)
        cases = tuple(store.find(text) for text in (*setting(config, "gradcheck_replay"), *replays))
        named = tuple(setting(config, "gradcheck_engine"))
        places = [case.target.place for case in cases] or [text.split("::")[0] for text in ids] or named
        engines = tuple(_engine(registry, name) for name in dict.fromkeys(places or [DEFAULT_ENGINE]))
        ops = _known_ops(registry, setting(config, "gradcheck_op"))
        every = targets(engines, registry.claims, ops or _groups(registry, ids))
        executor = registry.engines.engine(DEFAULT_ENGINE)
        for case in cases:
            claim = registry.claims.get(case.target.claim)
            require_same_ops(case, Bench(claim, executor, executor, registry.ops.all()))
        profile = _profile(config)
        return Settings(
            engines=engines,
            executor=executor,
            registry=registry,
            profile=profile,
            seed=_seed(config),
            targets=_selected(every, ids) if pasted else every,
            cases=cases,
            store=store,
            is_named=bool(named or ops or pasted or cases),
            is_only=bool(setting(config, "gradcheck_only")),
            has_paths=_leave_the_rest(config, bool(cases), bool(pasted)),
            # What must not depend on the machine must not depend on its speed.
            options=options_of(config, is_counted=profile.is_deterministic),
            baseline=baseline_of(config),
        )


def take_ids(config: pytest.Config) -> tuple[str, ...]:
    """Take the ids of the suite out of ``config.args``, which would look for files of that name."""
    found = {argument: _SUITE_ID.fullmatch(argument) for argument in config.args}
    config.args[:] = [argument for argument, match in found.items() if match is None]
    return tuple(match[1] for match in found.values() if match is not None)


def _leave_the_rest(config: pytest.Config, is_replay: bool, is_pasted: bool) -> bool:
    """Whether paths were given; a replay collects nothing else, whatever they are."""
    if is_replay:
        config.args[:] = []
    return config.args_source is pytest.Config.ArgsSource.ARGS or is_pasted


def _without_replays(ids: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of targets, and the cases that ids of replayed items name."""
    replays = {text: match[1] for text in ids if (match := _REPLAYED.fullmatch(text))}
    return tuple(text for text in ids if text not in replays), tuple(replays.values())


def _groups(registry: Registry, ids: Iterable[str]) -> tuple[str, ...]:
    """The groups of ops, and the single ops that pasted ids name in their place."""
    parameters = [text.partition("[")[2].removesuffix("]") for text in ids]
    return (*registry.ops.groups(), *(name for name in parameters if name in registry.ops.names()))


def _selected(every: tuple[Target, ...], ids: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets that the ids name, in full or by their first parts (``gradcheck::torch-cpu``)."""
    for text in ids:
        if not any(_is_part(text, target) for target in every):
            raise UsageError(f"gradcheck::{text}: no such item; {nearest(text, map(str, every))}")
    return tuple(target for target in every if any(_is_part(text, target) for text in ids))


def _is_part(text: str, target: Target) -> bool:
    return text in (str(target), target.place, f"{target.place}::{target.claim}")


def nearest(text: str, known: Iterable[str]) -> str:
    """A hint: the names nearest to `text`, or how to see them all."""
    near = difflib.get_close_matches(text, tuple(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see pytest --gradcheck-list"


def _engine(registry: Registry, text: str) -> Engine:
    """The engine that `text` names, "torch" or with its device "torch-cuda:0", known to work."""
    engines = registry.engines
    name, dash, device = text.rpartition("-")
    if text in engines.names() or not dash or name not in engines.names():
        name, device = text, "cpu"
    try:
        engine = engines.engine(name, device)
        engine.tensor(np.zeros(()))
    except GradcheckError:
        raise
    except Exception as error:
        line = said(error)
        raise UsageError(f"engine: {name!r} on {device!r} does not work here: {line}") from error
    return engine


def _known_ops(registry: Registry, names: Iterable[str]) -> tuple[str, ...]:
    known = registry.ops.names()
    for name in names:
        if name not in known:
            raise UsageError(f"op: unknown {name!r}; {nearest(name, known)}")
    return tuple(dict.fromkeys(names))


def _profile(config: pytest.Config) -> Profile:
    # As Hypothesis and pytest do, any value of CI counts but those that say no.
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    name = setting(config, "gradcheck_profile") or ("ci" if is_ci else "dev")
    if name not in PROFILES:
        near = difflib.get_close_matches(name, PROFILES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(PROFILES)}"
        raise UsageError(f"profile: unknown {name!r}; {hint}")
    count = setting(config, "gradcheck_max_examples")
    if count is None:
        return PROFILES[name]
    if count < 1:
        raise UsageError(f"--gradcheck-max-examples: expected at least 1, got {count}")
    return replace(PROFILES[name], max_examples=count)


def _seed(config: pytest.Config) -> int:
    """The seed: the controller's in a worker, else the one asked for, else 0 or a fresh one by the profile."""
    sent = getattr(config, "workerinput", {}).get(SEED_KEY)
    asked = setting(config, "gradcheck_seed") if sent is None else sent
    if asked is not None:
        return int(asked)
    return 0 if _profile(config).is_deterministic else secrets.randbelow(2**32)
