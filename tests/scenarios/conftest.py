"""What the scenarios share: a repository to write and to run."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType

import pytest

from tests.fakes.pytester import away_from_ci, torch_stays
from tests.scenarios.stranger import Stranger

__all__ = ["away_from_ci", "torch_stays"]


@pytest.fixture(scope="session")
def compiler_stays(torch_stays: None) -> None:
    """PyTorch's compiler, which some calls import: it registers operators, which works once in a process."""
    with suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch._dynamo  # noqa: F401


@pytest.fixture
def libraries(compiler_stays: None) -> Iterator[dict[str, ModuleType]]:
    """What the runs of a test import and is not its repository's; pytester, which goes first, would forget it."""
    found: dict[str, ModuleType] = {}
    yield found
    for name, module in found.items():
        sys.modules.setdefault(name, module)


@pytest.fixture
def stranger(libraries: dict[str, ModuleType], away_from_ci: None, pytester: pytest.Pytester) -> Stranger:
    """Somebody's repository, empty as yet."""
    return Stranger(pytester, libraries)
