"""The part of the page about planted mistakes: by group, and each that somebody of ours missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.markdown import prose, share, table

Data = Sequence[Mapping[str, Any]]
DIAGNOSED = 0.80


def section(data: Data) -> tuple[list[str], list[tuple[str, str, bool]]]:
    """The lines, and the targets: what, what was found, whether it is met."""
    tried = sum(one["seeds"] for one in data)
    caught = sum(one["caught"] for one in data)
    alarms, twins = sum(one["alarms"] for one in data), sum(one["twins"] for one in data)
    named = sum(one["named"] for one in data)
    missed = [one for one in data if one["caught"] < one["seeds"] or one["alarms"]]
    seeds = max([one["seeds"] for one in data], default=0)
    lines = [
        "## Planted mistakes",
        "",
        *prose(
            f"{len(data)} wrong functions, each {seeds} times with another seed, and their right twins at every",
            "fourth seed, through what a user's call gives: what `pytest --gradcheck` does with one observed call,",
            "on JAX what `gradcheck.explore` does.",
            "*Named*: the diagnosis names the mistake that was planted. Peers are asked at the same inputs, once;",
            "those of other engines are not counted.",
        ),
        "",
        *_by_group(data),
        "",
        *_list_of("Missed, or an alarm on the twin", [_missed(one) for one in missed]),
        *_list_of("Named otherwise", [_unnamed(one) for one in data if one["named"] < one["caught"]]),
    ]
    targets = [
        (f"{len(data)} planted mistakes caught, {seeds} seeds each", f"{caught:,} of {tried:,}", 0 < tried == caught),
        ("no alarm on their right twins", f"{alarms} in {twins:,}", alarms == 0),
        ("the diagnosis names the mistake in at least 80 %", share(named, caught), named >= DIAGNOSED * max(caught, 1)),
    ]
    return lines, targets


def _by_group(data: Data) -> list[str]:
    judges = list(dict.fromkeys(judge for one in data for judge in one["peers"]))
    heads = ("", "planted", "caught at every seed", "alarms on twins", "named", *judges)
    groups = list(dict.fromkeys(one["group"] for one in data))
    rows = [_row(group, [one for one in data if one["group"] == group], judges) for group in groups]
    return table(heads, [*rows, _row("**all**", data, judges)])


def _row(title: str, some: Data, judges: Sequence[str]) -> tuple[Any, ...]:
    whole = sum(one["caught"] == one["seeds"] for one in some)
    peers = []
    for judge in judges:
        asked = [one["peers"][judge] for one in some if judge in one["peers"]]
        peers.append(f"{sum(asked)} of {len(asked)}" if asked else "–")
    named, caught = sum(one["named"] for one in some), sum(one["caught"] for one in some)
    return (title, len(some), whole, sum(one["alarms"] for one in some), share(named, caught), *peers)


def _missed(one: Mapping[str, Any]) -> str:
    alarms = f", twin {one['alarms']} alarms ({', '.join(one['alarm_codes'])})" if one["alarms"] else ""
    return f"{one['engine']} {one['name']}: caught {one['caught']} of {one['seeds']}{alarms}"


def _unnamed(one: Mapping[str, Any]) -> str:
    said = ", ".join(one["said"]) or "nothing"
    return f"{one['engine']} {one['name']}: {one['mistake']}, named {one['named']} of {one['caught']}; else {said}"


def _list_of(title: str, items: Sequence[str]) -> list[str]:
    return [f"{title}:", "", *(f"- {item}" for item in items), ""] if items else []
