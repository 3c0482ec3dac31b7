"""Source text that makes a user's class again elsewhere: its own, and that of everything that it names."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import enum
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

# A script that shows a user's mistake is read by people who do not have these.
_OURS = frozenset({"pytest", "_pytest", "gradcheck", "hypothesis", "pytest_gradcheck"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
# Of a module, and meant for it alone.
_OF_THE_MODULE = frozenset({"__name__", "__doc__", "__class__"})


class Unwritable(Exception):
    """What cannot be written down, as the end of a sentence: "a Linear"."""


class Writer:
    """Collects what a script must import and define, each thing after what it needs.

    Parameters
    ----------
    library : str
        The engine's module, which may be imported wherever it lies.
    tensor_text : callable
        From a tensor to source text, or None where it is no tensor.

    Attributes
    ----------
    imports : list of str
        Statements.
    pieces : list of str
        Definitions, in order.
    """

    def __init__(self, library: str, tensor_text: Callable[[Any], str | None]) -> None:
        self.imports: list[str] = []
        self.pieces: list[str] = []
        self._library = library
        self._tensor_text = tensor_text
        self._known: dict[str, Any] = {}

    def define(self, name: str, value: Any, file: str = "") -> None:
        """Make `name` mean `value`; `file` is where the name is used.

        Raises
        ------
        Unwritable
            If there is no source text for it.
        """
        if name in self._known:
            if self._known[name] is not value:
                raise Unwritable(f"two things that are called {name}")
            return
        self._known[name] = value
        statement = self._import(name, value, file)
        if statement:
            if statement not in self.imports:
                self.imports.append(statement)
        elif isinstance(value, ModuleType):
            raise Unwritable(f"the module {value.__name__}, which is not installed")
        elif inspect.isclass(value) or inspect.isfunction(value):
            self._embed(name, value)
        elif inspect.ismethod(value) and inspect.isclass(value.__self__):
            self.define(value.__self__.__name__, value.__self__, file)
            self.pieces.append(f"{name} = {value.__self__.__name__}.{value.__name__}")
        else:
            self.pieces.append(f"{name} = {self.literal(value)}")

    def literal(self, value: Any) -> str:
        """An expression for a number, a string, a dtype, a small tensor, an enum's member, or a tree of them."""
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes, range):
            return "..." if value is Ellipsis else repr(value)
        if isinstance(value, enum.Enum):
            self.define(kind.__name__, kind, inspect.getsourcefile(kind) or "")
            return f"{kind.__name__}.{value.name}"
        if isinstance(value, (float, complex)):
            plain = float(value) if isinstance(value, float) else complex(value)
            text = repr(plain)
            return f"{type(plain).__name__}({text!r})" if "n" in text else text
        if kind in (tuple, list, set, frozenset):
            return self._collection(kind, [self.literal(item) for item in value])
        if kind is dict:
            return "{" + ", ".join(f"{self.literal(k)}: {self.literal(v)}" for k, v in value.items()) + "}"
        if kind is slice:
            return f"slice({self.literal(value.start)}, {self.literal(value.stop)}, {self.literal(value.step)})"
        if inspect.isclass(value) or inspect.isfunction(value):
            self.define(value.__name__, value)
            return str(value.__name__)
        spelled = self._tensor_text(value) or self._of_library(value)
        if spelled is None:
            raise Unwritable(f"a {kind.__name__}")
        return spelled

    @staticmethod
    def _collection(kind: type, items: list[str]) -> str:
        inside = ", ".join(items)
        if kind is tuple:
            return f"({inside},)" if len(items) == 1 else f"({inside})"
        return f"[{inside}]" if kind is list else f"{kind.__name__}([{inside}])"

    def _of_library(self, value: Any) -> str | None:
        """A dtype, a device, a size: what prints as an expression of the library's."""
        if type(value).__module__.partition(".")[0] != self._library:
            return None
        text = repr(value)
        for spelled in (text, f"{self._library}.{text}"):
            try:
                made = eval(spelled, {self._library: sys.modules[self._library]})  # what we print is what we test
            except Exception:
                continue
            if type(made) is type(value) and made == value:
                return spelled
        return None

    @property
    def names(self) -> frozenset[str]:
        """What the pieces and imports define."""
        return frozenset(self._known)

    def claim(self, name: str) -> None:
        """Note a name that is defined elsewhere."""
        self._known.setdefault(name, None)

    # Imports ---------------------------------------------------------------------------------------------------

    def _import(self, name: str, value: Any, file: str) -> str:
        """The statement that gives `name`: as the user wrote it, else from where the value was made; "" for none."""
        for statement, root in _imports(file).get(name, ()):
            if self._is_installed(root) and _gives(statement, name, value):
                return statement
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if not isinstance(module, str) or not self._is_installed(module.partition(".")[0]):
            return ""
        own = getattr(value, "__qualname__", "")
        statement = f"import {module} as {name}" if isinstance(value, ModuleType) else f"from {module} import {own}"
        statement += "" if isinstance(value, ModuleType) or own == name else f" as {name}"
        return statement if own.isidentifier() or isinstance(value, ModuleType) else ""

    def _is_installed(self, root: str) -> bool:
        if root in _OURS:
            return False
        if root == self._library or root in sys.stdlib_module_names:
            return True
        file = getattr(sys.modules.get(root), "__file__", None) or ""
        return not _INSTALLED.isdisjoint(Path(file).parts)

    # Sources ---------------------------------------------------------------------------------------------------

    def _embed(self, name: str, value: Any) -> None:
        """The source of a class or a function, between what it needs at once and what it needs when it is called."""
        value = inspect.unwrap(value)
        own, file = value.__name__, _file(value)
        text = _source(value, file)
        scope = _scope(value)
        code = compile(text, file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
        at_once, later = _names(code)
        self._known.setdefault(own, value)
        for needed in sorted(at_once - {own}):
            self._need(needed, scope, file, is_sure=True)
        self.pieces.append(text)
        for needed in sorted(later - at_once - {own}):
            self._need(needed, scope, file, is_sure=False)
        if own != name:
            self.pieces.append(f"{name} = {own}")

    def _need(self, name: str, scope: Mapping[str, Any], file: str, *, is_sure: bool) -> None:
        if name in _OF_THE_MODULE:
            return
        if name in scope:
            try:
                self.define(name, scope[name], file)
            except Unwritable as problem:
                raise Unwritable(f"{name}, {problem}" if " " not in name else str(problem)) from None
        elif is_sure and not hasattr(builtins, name):
            raise Unwritable(f"{name}, which is not at hand")


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """The global names that code reads while it runs, and those that the functions it makes read later."""
    stored = {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_NAME"}
    read = {one.argval for one in dis.get_instructions(code) if one.opname in _READS}
    at_once: set[str] = read - (stored if code.co_name != "<module>" else set())
    later: set[str] = set()
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            runs_now = not inner.co_flags & inspect.CO_OPTIMIZED or inner.co_name.endswith("comp>")
            first, second = _names(inner)
            (at_once if runs_now else later).update(first)
            later |= second
    return at_once, later


def _methods(owner: type) -> Iterator[FunctionType]:
    """The functions in a class body, as they were written."""
    for value in vars(owner).values():
        held = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        held = inspect.unwrap(held) if callable(held) else held
        if isinstance(held, FunctionType) and held.__module__ == owner.__module__:
            yield held


def _scope(value: Any) -> dict[str, Any]:
    """What the names in the source of a class or a function mean."""
    functions = list(_methods(value)) if inspect.isclass(value) else [value]
    scope = dict(vars(sys.modules[value.__module__])) if value.__module__ in sys.modules else {}
    for function in functions:
        scope.update(function.__globals__)
    for base in value.__bases__ if inspect.isclass(value) else ():
        scope.setdefault(base.__name__, base)
    for function in functions:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                scope[name] = cell.cell_contents
            except ValueError:  # not filled yet
                continue
    return scope


def _file(value: Any) -> str:
    functions = list(_methods(value)) if inspect.isclass(value) else [value]
    if functions:
        return functions[0].__code__.co_filename
    return str(getattr(sys.modules.get(value.__module__), "__file__", ""))


def _source(value: Any, file: str) -> str:
    """The statement that made a class or a function, without the indentation it had."""
    lines, tree = _parsed(file)
    functions = list(_methods(value)) if inspect.isclass(value) else [value]
    kinds = (ast.ClassDef,) if inspect.isclass(value) else (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and node.name == value.__name__:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = node.end_lineno or first
            inside = (first <= function.__code__.co_firstlineno <= last for function in functions)
            if all(inside):
                return textwrap.dedent("\n".join(lines[first - 1 : last]))
    raise Unwritable(f"{value.__qualname__}, whose source is not at hand")


@cache
def _parsed(file: str) -> tuple[list[str], ast.Module]:
    try:
        text = Path(file).read_text(encoding="utf-8")
        return text.splitlines(), ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return [], ast.Module(body=[], type_ignores=[])


@cache
def _imports(file: str) -> dict[str, list[tuple[str, str]]]:
    """By the name it gives, each absolute import of a file, and the package it is of."""
    found: dict[str, list[tuple[str, str]]] = {}
    for node in ast.walk(_parsed(file)[1]):
        if isinstance(node, ast.Import):
            for one in node.names:
                name = one.asname or one.name.partition(".")[0]
                statement = f"import {one.name}" + (f" as {one.asname}" if one.asname else "")
                found.setdefault(name, []).append((statement, one.name.partition(".")[0]))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and node.module != "__future__":
            for one in node.names:
                statement = f"from {node.module} import {one.name}" + (f" as {one.asname}" if one.asname else "")
                found.setdefault(one.asname or one.name, []).append((statement, node.module.partition(".")[0]))
    return found


def _gives(statement: str, name: str, value: Any) -> bool:
    """Whether an import gives that value; every module on the way is loaded already."""
    namespace: dict[str, Any] = {}
    try:
        exec(statement, namespace)
    except ImportError:
        return False
    return namespace.get(name) is value


def importable(owner: type, root: Path) -> str:
    """Statements that import a class from where its package lies, for a script two levels below `root`.

    Raises
    ------
    Unwritable
        If it was made inside a function, or its module needs what only the tests have.
    """
    module, name = owner.__module__, owner.__qualname__
    if "<locals>" in name:
        raise Unwritable(f"{name}, which is made inside a function")
    file = str(getattr(sys.modules.get(module), "__file__", "") or "")
    parts = module.split(".")
    path = Path(file).with_suffix("")
    path = path.parent if path.name == "__init__" else path
    if not file or list(path.parts[-len(parts) :]) != parts:
        raise Unwritable(f"{name}, whose module {module} cannot be imported by its name")
    if any(root in _OURS for found in _imports(file).values() for _, root in found):
        raise Unwritable(f"{name}, whose module needs pytest")
    base = Path(*path.parts[: -len(parts)])
    try:
        below = base.resolve().relative_to(root.resolve())
    except ValueError:
        place = repr(str(base.resolve()))
    else:
        place = f"str(Path(__file__).resolve().parents[2]{''.join(f' / {part!r}' for part in below.parts)})"
    outer, _, inner = name.partition(".")
    alias = f"\n{name.rpartition('.')[2]} = {name}" if inner else ""
    return f"from pathlib import Path\n\nsys.path.insert(0, {place})\nfrom {module} import {outer}{alias}"
