"""Notices calls of the user's Functions; keeps the first of each signature, a few beside it, and what held for all."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from gradcheck.engines import registry
from gradcheck.engines.base import Engine
from gradcheck.engines.torchlike import backward_of
from gradcheck.failures import named
from gradcheck.observation.call import Call, Signature, name_of
from gradcheck.observation.facts import Facts, facts_of, joined
from gradcheck.observation.gradcheck_call import GradcheckCall, GradcheckCalls
from gradcheck.observation.identity import identity_of
from gradcheck.observation.importing import Awaited
from gradcheck.observation.snapshot import copied, device_among, in_words, signature_of, tensors_in
from gradcheck.observation.spare import LARGEST, SPARES, Spare, best, mark_of, worst, worth_of
from gradcheck.observation.territory import Territory
from gradcheck.observation.wrapping import LIBRARIES, Library, Wrapping
from gradcheck.program import Array

LIMIT_BYTES = 2**28
_SIGNATURES = 32
# Enough calls to tell a habit from a chance; entries of a tensor that is looked at again in each of them.
_CALLS = 64
_ENTRIES = 100_000
# What may be kept beside first calls: the other half of the limit is theirs.
_SPARE_SHARE = 0.5
# Calls told from those seen before, and calls looked at in all: where as many showed nothing, more would not either.
_MARKS = 256
_LOOKS = 2_000

TRANSFORMED = "called under a function transform"
NOT_FLOATING = "no floating input"
MEMORY = "memory limit"
KEYWORDS = "arguments given by name only"
SIGNATURES = f"more than {_SIGNATURES} signatures"
UNCALLED = "never called"
IGNORED = "ignored"


@dataclass(slots=True, eq=False)
class Observed:
    """One Function in one signature.

    Attributes
    ----------
    function : type
    name : str
        ``pkg.ops:RowMax``.
    engine : str
    signature : tuple
        Empty for calls of which only the number is kept.
    signature_text : str
        ``x0 float32 (2-d), 3``.
    call : Call or None
        The first call, or another one since `Observer.advance`; None where it could not be kept.
    reason : str
        Why there is no call; "" where there is one.
    facts : tuple of Facts
        One for each tensor among the arguments, in the order of `gradcheck.arguments.leaves`, over the calls so far.
    required : tuple of bool
        Which tensor arguments required grad.
    calls : int
    create_graph : bool
        A backward of this Function ran with grad mode on.
    spares : list of Spare
        Other calls, in case that the first shows nothing.
    marks : set of int
        Of the calls that were looked at.
    is_settled : bool
        No other call is wanted.
    """

    function: type
    name: str
    engine: str
    signature: Signature
    signature_text: str
    call: Call | None = None
    reason: str = ""
    facts: tuple[Facts, ...] = ()
    required: tuple[bool, ...] = ()
    calls: int = 0
    create_graph: bool = False
    spares: list[Spare] = field(default_factory=list)
    marks: set[int] = field(default_factory=set)
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """One Function of the user's: its name, where its backward stands, how often it was called, why nothing was kept.

    `reason` is "" where at least one call was kept.
    """

    name: str
    where: str
    calls: int
    ignored: bool
    reason: str


@dataclass(slots=True, eq=False)
class _Watched:
    """A Function and what was seen of it; `other` holds calls that were counted and not kept, by reason."""

    function: type
    engine: str
    ignored: bool
    adapter: Engine
    kept: dict[Signature, Observed] = field(default_factory=dict)
    other: dict[str, Observed] = field(default_factory=dict)
    calls: int = 0
    create_graph: bool = False
    trouble: str = ""


class Observer:
    """Watches the Functions of a territory, in torch and in refengine, between `start` and `stop`.

    Parameters
    ----------
    territory : Territory
    ignored : frozenset of str
        Names of Functions (``pkg.mod:Class``) whose calls are counted only.
    limit_bytes : int
        Tensors kept in all.
    """

    def __init__(
        self, territory: Territory, *, ignored: frozenset[str] = frozenset(), limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._territory = territory
        self._ignored = ignored
        self._limit = limit_bytes
        self._used = 0
        self._lock = threading.RLock()
        self._thread = threading.local()
        self._watched: dict[type, _Watched] = {}
        self._identities: dict[Hashable, _Watched] = {}
        self._touched: dict[Observed, None] = {}
        self._wrappings: list[Wrapping] = []
        self._awaited: list[Awaited] = []
        self._gradchecks = GradcheckCalls(territory.has, self.is_off, self._room, self.paused)

    # What the plugin calls -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch from now on: the libraries that are imported, and the others as soon as they are."""
        if self._awaited:
            return
        self._awaited = [Awaited(library.module, self._wrapper(library)) for library in LIBRARIES]
        self._awaited.append(Awaited("torch.autograd.gradcheck", self._gradchecks.wrap))
        for awaited in self._awaited:
            awaited.start()

    def stop(self) -> None:
        """Undo every patch; what was seen stays."""
        for awaited in self._awaited:
            awaited.stop()
        self._gradchecks.unwrap()
        for wrapping in reversed(self._wrappings):
            wrapping.stop()
        self._awaited, self._wrappings = [], []

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing that this thread calls inside is noted."""
        self._thread.depth = getattr(self._thread, "depth", 0) + 1
        try:
            yield
        finally:
            self._thread.depth -= 1

    def touched(self) -> tuple[Observed, ...]:
        """What was called since this was last asked, the first called first."""
        with self._lock:
            found, self._touched = tuple(self._touched), {}
        return found

    def known(self) -> tuple[Known, ...]:
        """Every Function of the user's, called or not; a base class is left out where a subclass was called."""
        with self._lock:
            every = self._identities.values()
            called = [watched.function for watched in every if watched.calls]
            return tuple(
                _known(watched)
                for watched in every
                if watched.calls or not any(issubclass(other, watched.function) for other in called)
            )

    def gradcheck_calls(self) -> tuple[GradcheckCall, ...]:
        """The calls of ``torch.autograd.gradcheck`` since this was last asked."""
        return self._gradchecks.taken()

    def release(self, observed: Observed) -> None:
        """Give back the memory of a call that has been checked; its signature is not kept again."""
        with self._lock:
            if observed.call is not None:
                engine = registry.engine(observed.engine)
                self._used -= engine.extent(tensors_in(observed.call.arguments, engine))
                observed.call, observed.reason = None, "released"

    def advance(self, observed: Observed) -> bool:
        """Put the most telling other call in the place of the one that is kept; whether there was one."""
        with self._lock:
            if not observed.spares:
                return False
            spare = best(observed.spares)
            observed.spares.remove(spare)
            if observed.call is not None:
                self.release(observed)
            observed.call, observed.reason = spare.call, ""
            return True

    def settle(self, observed: Observed) -> None:
        """Keep no other call of this signature: what there was to see was seen."""
        with self._lock:
            self._used -= sum(spare.extent for spare in observed.spares)
            observed.spares.clear()
            observed.marks.clear()
            observed.is_settled = True

    # What the wrappers call ------------------------------------------------------------------------------------

    def is_off(self) -> bool:
        """Whether nothing is noted now, in this thread."""
        return getattr(self._thread, "depth", 0) > 0

    def wants(self, function: type) -> bool:
        """Whether a Function is the user's."""
        return self._territory.owns(function)

    def adopted(self, function: type, engine: str) -> None:
        """Count a Function among the known; one that was made before by the same code is the same."""
        with self._lock:
            identity = identity_of(function, self._representative)
            if identity not in self._identities:
                ignored = name_of(function) in self._ignored
                self._identities[identity] = _Watched(function, engine, ignored, registry.engine(engine))
            self._watched[function] = self._identities[identity]

    def _representative(self, function: type) -> type:
        """The first class made that was the same Function."""
        watched = self._watched.get(function)
        return watched.function if watched else function

    def called(self, function: type, arguments: tuple[Any, ...] | None) -> None:
        """Note a call, and keep it if it is the first of its signature."""
        with self._lock, self.paused():
            watched = self._watched[function]
            watched.calls += 1
            if watched.ignored:
                return
            if arguments is None:
                self._count(watched, KEYWORDS)
                return
            engine = watched.adapter
            if any(engine.is_transformed(tensor) for tensor in tensors_in(arguments, engine)):
                self._count(watched, TRANSFORMED)
                return
            self._note(watched, arguments, engine)

    def transformed(self, function: type) -> None:
        """Count a call of forward by a function transform."""
        with self._lock:
            watched = self._watched[function]
            watched.calls += 1
            if not watched.ignored:
                self._count(watched, TRANSFORMED)

    def differentiated(self, function: type) -> None:
        """Note that the Function's backward runs with grad mode on."""
        with self._lock:
            watched = self._watched[function]
            watched.create_graph = True
            for observed in (*watched.kept.values(), *watched.other.values()):
                observed.create_graph = True

    def failed(self, function: type, error: Exception) -> None:
        """Keep what went wrong in noting."""
        with self._lock:
            if function in self._watched:
                self._watched[function].trouble = f"could not be noted: {named(error)}"

    # Noting ----------------------------------------------------------------------------------------------------

    def _wrapper(self, library: Library) -> Any:
        def wrap(module: ModuleType) -> None:
            wrapping = Wrapping(library, module, self)
            self._wrappings.append(wrapping)
            wrapping.start()

        return wrap

    def _room(self, size: int) -> bool:
        """Take `size` bytes of the limit, if they are left."""
        with self._lock:
            fits = self._used + size <= self._limit
            self._used += size if fits else 0
            return fits

    def _count(self, watched: _Watched, reason: str) -> None:
        observed = watched.other.get(reason)
        if observed is None:
            observed = watched.other[reason] = self._empty(watched, (), "", reason)
        observed.calls += 1
        self._touched.setdefault(observed)

    def _empty(self, watched: _Watched, signature: Signature, text: str, reason: str) -> Observed:
        name, create_graph = name_of(watched.function), watched.create_graph
        return Observed(
            watched.function, name, watched.engine, signature, text, reason=reason, create_graph=create_graph
        )

    def _note(self, watched: _Watched, arguments: tuple[Any, ...], engine: Engine) -> None:
        signature = signature_of(arguments, engine)
        observed = watched.kept.get(signature)
        if observed is None and len(watched.kept) >= _SIGNATURES:
            self._count(watched, SIGNATURES)
            return
        if observed is None:
            # Entered before it is filled: what cannot be copied once is not tried at each call.
            observed = watched.kept[signature] = self._empty(watched, signature, "", "")
            self._fill(observed, arguments, engine)
        elif observed.reason == MEMORY:
            self._fill(observed, arguments, engine)
        elif not self._gradchecks.is_inside() and (observed.calls < _CALLS or self._is_open(observed)):
            self._look_at(observed, arguments, engine)
        observed.calls += 1
        self._touched.setdefault(observed)

    def _fill(self, observed: Observed, arguments: tuple[Any, ...], engine: Engine) -> None:
        """Describe a new signature, and keep its call where that can be."""
        tensors = tensors_in(arguments, engine)
        before = self._used
        try:
            observed.signature_text = in_words(arguments, engine)
            observed.required = tuple(engine.requires_grad(tensor) for tensor in tensors)
            with engine.aside():
                observed.reason = self._refusal(tensors, engine)
                if not observed.reason:
                    arrays = [engine.array(tensor) for tensor in tensors]
                    observed.facts = tuple(map(facts_of, arrays))
                    observed.call = self._copied(observed, arguments, engine)
                    observed.marks.add(mark_of(arrays))
        except Exception as error:
            self._used = before
            observed.reason = f"could not be copied: {named(error)}"

    def _copied(self, observed: Observed, arguments: tuple[Any, ...], engine: Engine) -> Call:
        device = device_among(tensors_in(arguments, engine), engine)
        return Call(
            function=observed.function,
            engine=engine.name,
            device=device,
            arguments=copied(arguments, engine),
            signature=observed.signature,
            random_state=registry.engine(engine.name, device).random_state(),
            default_dtype=engine.default_dtype_name(),
        )

    def _refusal(self, tensors: list[Any], engine: Engine) -> str:
        """Why a call cannot be kept; "" where it can, and then its memory is taken."""
        if not any(engine.kind(tensor) in "fc" for tensor in tensors):
            return NOT_FLOATING
        refusals = [reason for tensor in tensors if (reason := engine.why_not_copied(tensor))]
        if refusals:
            return f"called with {refusals[0]}"
        return "" if self._room(engine.extent(tensors)) else MEMORY

    def _look_at(self, observed: Observed, arguments: tuple[Any, ...], engine: Engine) -> None:
        """Widen the facts by another call, and keep it where it may show more than those that are kept."""
        if not observed.facts:  # nothing of this signature could be kept
            return
        tensors = tensors_in(arguments, engine)
        with engine.aside():
            arrays = [engine.array(tensor) if tensor.numel() <= _ENTRIES else None for tensor in tensors]
            if observed.call is not None and observed.calls < _CALLS:
                observed.facts = tuple(
                    facts if values is None else joined(facts, facts_of(values))
                    for facts, values in zip(observed.facts, arrays, strict=True)
                )
            small = [values for values in arrays if values is not None]
            if len(small) == len(arrays) and self._is_open(observed):
                self._offer(observed, arguments, engine, small)

    def _is_open(self, observed: Observed) -> bool:
        """Whether other calls are wanted."""
        return not observed.is_settled and len(observed.marks) < _MARKS and observed.calls < _LOOKS

    def _offer(self, observed: Observed, arguments: tuple[Any, ...], engine: Engine, arrays: list[Array]) -> None:
        """Keep a call beside the first where it differs from those seen and shows more than one that is kept."""
        mark = mark_of(arrays)
        if mark in observed.marks:
            return
        observed.marks.add(mark)
        worth = worth_of(arrays)
        is_full = len(observed.spares) >= SPARES
        if is_full and worth <= worst(observed.spares).worth:
            return
        tensors = tensors_in(arguments, engine)
        extent = engine.extent(tensors)
        if extent > LARGEST or self._used + extent > _SPARE_SHARE * self._limit:
            return
        if any(engine.why_not_copied(tensor) for tensor in tensors):
            return
        spare = Spare(self._copied(observed, arguments, engine), worth, extent)
        self._used += extent
        if is_full:
            dropped = worst(observed.spares)
            observed.spares.remove(dropped)
            self._used -= dropped.extent
        observed.spares.append(spare)


def _known(watched: _Watched) -> Known:
    kept = any(observed.call is not None or observed.reason == "released" for observed in watched.kept.values())
    reasons = [observed.reason for observed in (*watched.kept.values(), *watched.other.values()) if observed.reason]
    if watched.ignored:
        reason = IGNORED
    elif not watched.calls:
        reason = watched.trouble or UNCALLED
    else:
        reason = "" if kept else watched.trouble or next(iter(reasons), "")
    where = backward_of(watched.function) or ""
    return Known(name_of(watched.function), where, watched.calls, watched.ignored, reason)
