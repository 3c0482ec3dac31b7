"""Wraps forward and backward of the Functions that are watched, and puts back exactly what was there."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType
from typing import Any, Protocol

from gradcheck.observation.snapshot import by_position

Undo = Callable[[], None]


class Listener(Protocol):
    """Who hears of Functions and of their calls. What it raises never reaches the user."""

    def is_off(self) -> bool:
        """Whether nothing is noted now, in this thread."""
        ...

    def wants(self, function: type) -> bool:
        """Whether a Function is watched."""
        ...

    def adopted(self, function: type, engine: str) -> None:
        """Hear of a Function that is wrapped next."""
        ...

    def called(self, function: type, arguments: tuple[Any, ...] | None) -> None:
        """Hear of a call through ``apply``, before it is made, with its arguments; None where some have names only."""
        ...

    def transformed(self, function: type) -> None:
        """Hear of a call of forward by a function transform."""
        ...

    def differentiated(self, function: type) -> None:
        """Hear of a backward that runs with grad mode on."""
        ...

    def failed(self, function: type, error: Exception) -> None:
        """Hear that one of the above raised."""
        ...


@dataclass(frozen=True, slots=True)
class Library:
    """What differs between the libraries that have Functions.

    Attributes
    ----------
    engine : str
    module : str
        The module that defines ``Function``.
    caller : callable
        From that module to the code object that calls ``forward`` for ``apply``, with the class in its local ``cls``.
    compiling : callable
        Gives the function that says whether the library traces the code that runs, rather than running it.
    later : callable
        From that module and a callback to what undoes it: the callback hears of each class made later.
    tracing : callable
        Whether tensor operations that run now would be written down as part of the user's program.
    transforms : str
        The package that calls ``forward`` itself for function transforms; "" where there is none.
    """

    engine: str
    module: str
    caller: Callable[[ModuleType], CodeType]
    compiling: Callable[[], Callable[[], bool]]
    later: Callable[[ModuleType, Callable[[type], None]], Undo]
    tracing: Callable[[], bool]
    transforms: str = ""


def _torch_caller(module: ModuleType) -> CodeType:
    code: CodeType = module.Function.apply.__func__.__code__
    return code


def _torch_compiling() -> Callable[[], bool]:
    # The very function that torch.compile takes for a constant.
    found: Callable[[], bool] = sys.modules["torch"].compiler.is_compiling
    return found


def _torch_tracing() -> bool:
    return bool(sys.modules["torch"].jit.is_tracing())


def _torch_later(module: ModuleType, made: Callable[[type], None]) -> Undo:
    meta = module.FunctionMeta
    original = vars(meta)["__init__"]

    @functools.wraps(original)
    def __init__(cls: type, *args: Any, **kwargs: Any) -> None:
        original(cls, *args, **kwargs)
        made(cls)

    return replaced(meta, "__init__", __init__)


def _reference_caller(module: ModuleType) -> CodeType:
    code: CodeType = module._forward.__code__
    return code


def _never() -> bool:
    return False


def _reference_later(module: ModuleType, made: Callable[[type], None]) -> Undo:
    original = vars(module.Function)["__init_subclass__"]

    def __init_subclass__(cls: type, /, **kwargs: Any) -> None:
        original.__get__(None, cls)(**kwargs)
        made(cls)

    return replaced(module.Function, "__init_subclass__", classmethod(__init_subclass__))


LIBRARIES = (
    Library(
        engine="torch",
        module="torch.autograd.function",
        caller=_torch_caller,
        compiling=_torch_compiling,
        later=_torch_later,
        tracing=_torch_tracing,
        transforms="torch._functorch",
    ),
    Library(
        engine="refengine",
        module="refengine.autograd.function",
        caller=_reference_caller,
        compiling=lambda: _never,
        later=_reference_later,
        tracing=_never,
    ),
)


def replaced(owner: Any, name: str, value: Any) -> Undo:
    """Set an attribute; gives what sets it back, or deletes it where `owner` had inherited it.

    What somebody else has put there meanwhile stays.
    """
    before = vars(owner).get(name, _MISSING)
    setattr(owner, name, value)

    def undo() -> None:
        if vars(owner).get(name) is not value:
            return
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    return undo


_MISSING = object()


class Wrapping:
    """Keeps the Functions of one library wrapped, those there are and those made later.

    Parameters
    ----------
    library : Library
    module : module
        The one that `library` names.
    listener : Listener
    """

    def __init__(self, library: Library, module: ModuleType, listener: Listener) -> None:
        self._library = library
        self._base: type = module.Function
        self._module = module
        self._caller = library.caller(module)
        self._listener = listener
        self._adopted: set[type] = set()
        self._undo: list[Undo] = []

    def start(self) -> None:
        """Wrap every watched subclass, bases first."""
        self._undo.append(self._library.later(self._module, self._adopt))
        for function in _subclasses(self._base):
            self._adopt(function)

    def stop(self) -> None:
        """Undo everything, last first."""
        while self._undo:
            self._undo.pop()()
        self._adopted.clear()

    def _adopt(self, function: type) -> None:
        if not self._undo or function in self._adopted or not issubclass(function, self._base):
            return
        try:
            if self._listener.wants(function):
                self._adopted.add(function)
                self._listener.adopted(function, self._library.engine)
                self._wrap(function)
        except Exception as error:
            self._listener.failed(function, error)

    def _wrap(self, function: type) -> None:
        compiling = self._library.compiling()
        own = vars(function)
        if "forward" in own:
            self._replace(function, "forward", self._counting(function, _callable(own["forward"]), compiling))
        elif not any("forward" in vars(base) for base in function.__mro__[1:] if base in self._adopted):
            # The forward of a base that is not watched: wrapping it there would watch that base, too.
            self._replace(function, "forward", self._delegating(function, compiling))
        for name in ("backward", "vjp"):
            if name in own:
                self._replace(function, name, self._watching(function, _callable(own[name]), compiling))

    def _replace(self, function: type, name: str, wrapper: Callable[..., Any]) -> None:
        kind = type(vars(function).get(name, staticmethod(wrapper)))
        value = kind(wrapper) if kind in (staticmethod, classmethod) else wrapper
        self._undo.append(replaced(function, name, value))

    # The wrappers begin with the question that a compiler answers itself, so that it sees the user's code alone. It
    # looks at what they close over, and takes plain functions only.

    def _counting(
        self, function: type, original: Callable[..., Any], compiling: Callable[[], bool]
    ) -> Callable[..., Any]:
        note = self._noting(function)

        @functools.wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if not compiling():
                note(sys._getframe(1), args, kwargs)
            return original(*args, **kwargs)

        return forward

    def _delegating(self, function: Any, compiling: Callable[[], bool]) -> Callable[..., Any]:
        note = self._noting(function)
        inherited: Any = getattr(super(function, function), "forward")  # noqa: B009

        def current() -> Any:
            return super(function, function).forward  # type: ignore[misc]

        @functools.wraps(inherited)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if compiling():
                # A compiler of Functions does not look through `super`.
                return inherited(*args, **kwargs)
            note(sys._getframe(1), args, kwargs)
            return current()(*args, **kwargs)

        return forward

    def _watching(
        self, function: type, original: Callable[..., Any], compiling: Callable[[], bool]
    ) -> Callable[..., Any]:
        def note(args: tuple[Any, ...]) -> None:
            if not self._listener.is_off():
                self._note_backward(function, args)

        @functools.wraps(original)
        def backward(*args: Any, **kwargs: Any) -> Any:
            if not compiling():
                note(args)
            return original(*args, **kwargs)

        return backward

    def _noting(self, owner: type) -> Callable[[FrameType, tuple[Any, ...], dict[str, Any]], None]:
        def note(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._listener.is_off():
                self._note(owner, frame, args, kwargs)

        return note

    def _note(self, owner: type, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell of a call that came through ``apply``; `owner` is the class whose forward runs, maybe a base's."""
        try:
            if self._library.tracing():
                return
            if frame.f_code is self._caller:
                function = frame.f_locals["cls"]
                if function in self._adopted:
                    self._listener.called(function, self._given(function, args, kwargs))
            elif self._library.transforms and _is_within(frame, self._library.transforms):
                self._listener.transformed(owner)
        except Exception as error:
            self._listener.failed(owner, error)

    def _given(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        """The arguments of ``apply``: without the class of a classmethod, and the context where forward takes it."""
        if isinstance(_declared(function, "forward"), classmethod):
            args = args[1:]
        context = 1 if function.setup_context is self._base.setup_context else 0  # type: ignore[attr-defined]
        return by_position(function.forward, args[context:], kwargs, context) if kwargs else args[context:]

    def _note_backward(self, owner: type, args: tuple[Any, ...]) -> None:
        try:
            library = sys.modules[self._library.engine]
            if library.is_grad_enabled():
                # The class that was applied, for an inherited or borrowed backward.
                applied = [kind for kind in map(_applied, args[:2]) if kind is not None]
                if applied and applied[0] in self._adopted:
                    self._listener.differentiated(applied[0])
        except Exception as error:
            self._listener.failed(owner, error)


def _applied(context: object) -> Any:
    """The Function of a context; None for anything else."""
    return getattr(type(context), "_forward_cls", None)


def _callable(attribute: Any) -> Callable[..., Any]:
    """What a class attribute calls: a static or class method's function, else the attribute itself."""
    found: Callable[..., Any] = attribute.__func__ if isinstance(attribute, (staticmethod, classmethod)) else attribute
    return found


def _declared(function: type, name: str) -> Any:
    return next((vars(base)[name] for base in function.__mro__ if name in vars(base)), None)


def _is_within(frame: FrameType, package: str) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name == package or name.startswith(f"{package}.")


def _subclasses(base: type) -> Iterator[type]:
    """All subclasses, nearest first, each once."""
    waiting: list[type] = [base]
    seen: set[type] = {base}
    for known in waiting:  # grows while it is walked
        below: list[type] = type.__subclasses__(known)
        for function in below:
            if function not in seen:
                seen.add(function)
                waiting.append(function)
                yield function
