"""What a part measured, as JSON in a directory, so that one part can be run again without the others."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """One part's measurements.

    Attributes
    ----------
    name : str
    date : str
    seconds : float
        Wall clock.
    options : dict
        What it was asked for: counts, seed, jobs.
    data : list of dict
        Its dataclasses as JSON.
    """

    name: str
    date: str
    seconds: float
    options: Mapping[str, Any]
    data: Sequence[Mapping[str, Any]]


def save(directory: Path, name: str, seconds: float, options: Mapping[str, Any], data: Sequence[Any]) -> Part:
    """Write one part; returns it as it will be read."""
    directory.mkdir(parents=True, exist_ok=True)
    plain = [dataclasses.asdict(one) for one in data]
    part = Part(name, str(datetime.date.today()), round(seconds, 1), dict(options), plain)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(dataclasses.asdict(part), indent=1) + "\n", encoding="utf-8")
    return part


def load(directory: Path, name: str) -> Part | None:
    """One part as it was saved; None where it was not."""
    path = directory / f"{name}.json"
    return Part(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
