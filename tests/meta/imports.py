"""Read which module imports which, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target.

    Attributes
    ----------
    source, target : str
        Dotted module names; the target is the submodule where ``from package import submodule`` names one.
    line : int
    is_lazy : bool
        It stands in a function, so it runs when that is called, and not when the module is loaded.
    is_typing : bool
        It stands under ``if TYPE_CHECKING:`` and never runs.
    """

    source: str
    target: str
    line: int
    is_lazy: bool = False
    is_typing: bool = False

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the distribution by its dotted name."""
    files = [*root.glob("refengine/**/*.py"), *root.glob("gradcheck/**/*.py"), root / "pytest_gradcheck.py"]
    return {_name(path.relative_to(root)): path for path in sorted(files) if path.exists()}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(name: str, path: Path, known: frozenset[str]) -> list[Import]:
    """All imports of one file; `known` are the modules that ``from package import name`` may mean."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [
        Import(name, target, node.lineno, is_lazy, is_typing)
        for node, is_lazy, is_typing in _statements(tree, False, False)
        for target in _targets(node, package, known)
    ]


def _statements(
    node: ast.AST, is_lazy: bool, is_typing: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, is_lazy, is_typing
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from _statements(ast.Module(child.body, []), is_lazy, True)
            yield from _statements(ast.Module(child.orelse, []), is_lazy, is_typing)
        else:
            in_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _statements(child, is_lazy or in_function, is_typing)


def _targets(node: ast.Import | ast.ImportFrom, package: str, known: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parents = package.split(".")
        base = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
    for alias in node.names:
        full = f"{base}.{alias.name}"
        yield full if full in known else base


def all_imports(root: Path = ROOT) -> list[Import]:
    """Every import of the distribution's modules."""
    files = modules(root)
    known = frozenset(files)
    return [found for name, path in files.items() for found in read_imports(name, path, known)]
