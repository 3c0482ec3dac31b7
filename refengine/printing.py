"""How tensors print: as PyTorch prints them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refengine import devices, dtypes
from refengine.errors import ArgumentError
from refengine.tensor import PRINT, Tensor


@dataclass(frozen=True, slots=True)
class Options:
    """What `set_printoptions` sets.

    Attributes
    ----------
    precision : int
        Digits after the point.
    threshold : int
        More elements than this are summarised.
    edgeitems : int
        How many items at each end a summary shows.
    linewidth : int
        Characters a line.
    sci_mode : bool or None
        Scientific notation: always, never, or as the values need it.
    """

    precision: int = 4
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = [Options()]


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is None stays as it is, and `profile` ("default", "short", "full") sets all.

    Raises
    ------
    ArgumentError
        If there is no such profile.
    """
    profiles = {"default": Options(), "short": Options(precision=2, edgeitems=2), "full": Options(threshold=2**63)}
    if profile is not None:
        if profile not in profiles:
            raise ArgumentError(f"set_printoptions: expected a profile of {', '.join(profiles)}, got {profile!r}")
        _options[0] = profiles[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options[0] = replace(_options[0], **changed, sci_mode=sci_mode)


class Formatter:
    """Formats the elements of one tensor to one width.

    Scientific notation is used where the largest value is over 1,000 times the smallest or over 1e8, or the smallest is
    under 1e-4; floats that are all whole print as ``1.``.
    """

    def __init__(self, values: np.ndarray[Any, Any], options: Options) -> None:
        self.kind = values.dtype.kind
        self.spec, self.point = "", ""
        counted = values
        if self.kind == "f":
            wide = values.astype(np.float64)
            counted = wide[np.isfinite(wide) & (wide != 0)]
            self.spec, self.point = _style(counted, options)
        self.width = max([1, *(len(self._text(value)) for value in counted.ravel().tolist())])

    def _text(self, value: Any) -> str:
        if self.kind != "f":
            return str(value)
        text = format(value, self.spec)
        return text if value != value or value in (float("inf"), float("-inf")) else text + self.point

    def __call__(self, value: Any) -> str:
        """One element, padded to the common width."""
        return self._text(value).rjust(self.width)


def _style(finite: np.ndarray[Any, Any], options: Options) -> tuple[str, str]:
    """The format of floats, and what follows it, given those that are finite and not 0."""
    sizes = np.abs(finite)
    whole = bool((finite == np.ceil(finite)).all())
    scientific = options.sci_mode and finite.size > 0
    if options.sci_mode is None and finite.size:
        low, high = float(sizes.min()), float(sizes.max())
        scientific = high / low > 1000.0 or high > 1.0e8 or (not whole and low < 1.0e-4)
    if scientific:
        return f".{options.precision}e", ""
    return (".0f", ".") if whole else (f".{options.precision}f", "")


class ComplexFormatter:
    """Formats complex elements, real and imaginary parts to a width of their own."""

    def __init__(self, values: np.ndarray[Any, Any], options: Options) -> None:
        self.real, self.imag = Formatter(values.real, options), Formatter(values.imag, options)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: Any) -> str:
        """One element, as ``real+imagj``."""
        real, imag = self.real(value.real), self.imag(value.imag).lstrip()
        return f"{real}{imag}j" if imag.startswith("-") else f"{real}+{imag}j"


def _rows(host: np.ndarray[Any, Any], indent: int, form: Any, options: Options, summarise: bool) -> str:
    """Nested brackets."""
    if host.ndim == 0:
        return str(form(host.item()))
    edge = options.edgeitems
    cut = summarise and host.shape[0] > 2 * edge
    if host.ndim == 1:
        return _line(host, indent, form, options, cut)
    parts = [host[:edge], host[-edge:]] if cut else [host]
    texts = [[_rows(row, indent + 1, form, options, summarise) for row in part] for part in parts]
    joined = [*texts[0], "...", *texts[1]] if cut else texts[0]
    return "[" + ("," + "\n" * (host.ndim - 1) + " " * (indent + 1)).join(joined) + "]"


def _line(host: np.ndarray[Any, Any], indent: int, form: Any, options: Options, cut: bool) -> str:
    """One axis of numbers, broken into lines."""
    edge = options.edgeitems
    per_line = max(1, (options.linewidth - indent) // (form.width + 2))
    items = [form(v) for v in host.tolist()] if not cut else []
    if cut:
        items = [*(form(v) for v in host[:edge].tolist()), " ...", *(form(v) for v in host[-edge:].tolist())]
    lines = [items[i : i + per_line] for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"


def _edges(host: np.ndarray[Any, Any], edge: int) -> np.ndarray[Any, Any]:
    """What a summary shows, as one array."""
    for axis, size in enumerate(host.shape):
        if size > 2 * edge:
            host = np.take(host, [*range(edge), *range(size - edge, size)], axis)
    return host


def show(tensor: Tensor) -> str:
    """The text of a tensor."""
    options = _options[0]
    host = tensor.backend.to_host(tensor.array)
    notes = _notes(tensor, host)
    if host.size == 0:
        body = "[]"
    else:
        summarise = host.size > options.threshold
        shown = _edges(host, options.edgeitems) if summarise else host
        form = (ComplexFormatter if host.dtype.kind == "c" else Formatter)(shown, options)
        body = _rows(host, len("tensor("), form, options, summarise)
    return _joined("tensor(" + body, notes, options.linewidth)


def _notes(tensor: Tensor, host: np.ndarray[Any, Any]) -> list[str]:
    """Everything that a reader cannot tell from the numbers."""
    notes = []
    if tensor.device != devices.CPU:
        notes.append(f"device='{tensor.device}'")
    if host.size == 0 and host.ndim != 1:
        notes.append(f"size={tuple(host.shape)}")
    plain = {dtypes.default(), dtypes.complex_of(dtypes.default()), dtypes.bool_}
    if tensor.dtype not in plain and not (tensor.dtype is dtypes.int64 and host.size):
        notes.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        notes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        notes.append("requires_grad=True")
    return notes


def _joined(text: str, notes: list[str], linewidth: int) -> str:
    """The notes after the numbers, on a new line where they do not fit."""
    last = len(text) - text.rfind("\n") - 1
    for note in notes:
        if last + len(note) + 3 > linewidth:
            text, last = f"{text},\n{' ' * len('tensor(')}{note}", len("tensor(") + len(note)
        else:
            text, last = f"{text}, {note}", last + len(note) + 2
    return text + ")"


PRINT.append(show)
