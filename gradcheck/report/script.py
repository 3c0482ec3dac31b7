"""Writes a stand-alone script that shows a failure of a user's Function with nothing but the engine's library."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.failures import Evidence, Finding, named
from gradcheck.program import Array
from gradcheck.report import templates
from gradcheck.report.arrays import is_float, returned
from gradcheck.report.result import ONLY_HERE
from gradcheck.report.source import Unwritable, Writer, importable
from gradcheck.report.trial import End, executed, kept, near, outcome

# A script with more numbers is no longer read, nor kept.
_ENTRIES = 20_000
_SEED = 0
# float16 and bfloat16 have a larger spacing at 1, float32 and float64 a smaller one.
_COARSE = 1e-4
_DERIVATIVES = ("analytic", "numerical")
_COMPARED = {
    **dict.fromkeys(("GC101", "GC102", "GC103", "GC104", "GC105", "GC109"), _DERIVATIVES),
    "GC106": ("first", "second"),
    "GC107": ("gradient", "nearest"),
}
"""What a script calls the two numbers that it compares."""
# Stands for the call until the names of the script's own are settled.
_CALL = "__call__"


def function_script(
    finding: Finding,
    *,
    function: type,
    arguments: Sequence[Any],
    engine: str,
    default_dtype: str = "float32",
    prepare: Mapping[int, str] | None = None,
    root: Path | None = None,
) -> tuple[str, str]:
    """A script that exits 1 while the failure is there and 0 once it is mended.

    The Function's own source stands in it, with that of everything it names; where that cannot be written, the script
    imports it. It is run here before it is given out.

    Parameters
    ----------
    finding : Finding
        With its evidence.
    function : type
        The Function subclass.
    arguments : sequence
        What ``apply`` was called with: the tensors are replaced by the evidence's, in order, all else is written down.
    engine : str
        "torch" or "refengine": the library that the script imports.
    default_dtype : str
        The one that was set when the Function was called.
    prepare : mapping of int to str, optional
        For some inputs an expression that is applied to it first: ``{0: "(x0 + x0.mT) / 2"}``.
    root : Path or None
        The directory that the script is two levels below; where it must import the Function, it is found from there.
        By default the current one.

    Returns
    -------
    source, problem : str
        One of them is empty: the script, or why there can be none.
    """
    if finding.evidence is None:
        return "", f"{finding.code} has no arrays to show it with"
    problems = []
    for embedded in (True, False):
        try:
            draft = _Draft(
                finding, finding.evidence, function, tuple(arguments), engine, default_dtype, prepare or {},
                root or Path.cwd(), embedded,
            )  # fmt: skip
            return draft.proved(), ""
        except Unwritable as problem:
            problems.append(str(problem))
    return "", "; ".join(dict.fromkeys(problems))


@dataclass(slots=True)
class _Draft:
    """A script being written, in one of the two forms."""

    finding: Finding
    evidence: Evidence
    function: type
    arguments: tuple[Any, ...]
    engine: str
    default_dtype: str
    prepare: Mapping[int, str]
    root: Path
    embedded: bool
    writer: Writer = field(init=False)
    clones: bool = False
    is_random: bool = False
    form: str = "raw"
    outputs: tuple[int, ...] | None = None

    def proved(self) -> str:
        """The script, known to exit 1."""
        self._check_size()
        self._probe()
        tried = ""
        for body in self._bodies():
            source = self._source(body)
            end = outcome(source, self._library(), self.root)
            is_estimated = "derivative(" in body or self.finding.code == "GC107"
            if end.code == 1 and (self.is_random or not is_estimated or self._is_same(end)):
                return source
            tried = tried or end.said
        raise Unwritable(f"a script does not show it: {tried}")

    def _is_same(self, end: End) -> bool:
        """Whether the two values are those of the finding: at a kink, other differences give other values."""
        finding = self.finding
        pairs = (end.found, finding.analytic), (end.expected, finding.numeric)
        return all(a is None or b is None or near(a, b, finding.error or 0.0) for a, b in pairs)

    def _library(self) -> Any:
        return sys.modules[self.engine]

    def _check_size(self) -> None:
        shown = self.evidence
        arrays = [*shown.inputs, *shown.cotangents, *shown.others, *shown.second, *shown.directions]
        count = sum(array.size for array in arrays)
        if count > _ENTRIES:
            raise Unwritable(f"it takes {count:,} numbers to show it")

    def _probe(self) -> None:
        """Learn by a call whether the inputs must be cloned, what comes out, and whether numbers are drawn."""
        library = self._library()
        for self.clones in (False, True):
            with kept(library):
                before = library.get_rng_state()
                namespace: dict[str, Any] = {}
                try:
                    executed(self._source(), namespace, self.root)
                    function, leaves, point = (namespace[self._name(name)] for name in ("function", "leaves", "point"))
                    found = function(*leaves(point()))
                except SyntaxError as error:
                    raise Unwritable(f"its source does not compile ({error})") from error
                except Unwritable:
                    raise
                except Exception as error:
                    problem = named(error)
                    continue
                self.is_random = bool((library.get_rng_state() != before).any())
            self._look_at(found)
            return
        raise Unwritable(f"called by a script, {self.function.__name__} raised {problem}")

    def _look_at(self, result: Any) -> None:
        """What the Function gives decides how its floating outputs are picked."""
        several = isinstance(result, (tuple, list))
        tensors = [y for y in (result if several else [result]) if isinstance(y, self._library().Tensor)]
        floating = [y for y in tensors if y.is_floating_point() or y.is_complex()]
        count = len(self.evidence.cotangents) or len(floating)
        if count != len(floating):
            self.outputs = tuple(k for k, y in enumerate(floating) if y.requires_grad)
        is_plain = all(y.is_floating_point() and not str(y.dtype).endswith("bfloat16") for y in tensors)
        is_whole = is_plain and (not several or len(tensors) == len(result)) and self.outputs is None
        self.form = ("several" if several else "one") if is_whole else "mixed"

    # Parts -----------------------------------------------------------------------------------------------------

    def _source(self, body: str = "") -> str:
        """The whole script; without a body, what stands above it."""
        self.writer = Writer(self.engine, self._small_tensor)
        call = self._call()
        if self.embedded:
            self.writer.define(self.function.__name__, self.function)
            imported = ""
        else:
            self.writer.claim(self.function.__name__)
            imported = importable(self.function, self.root)
        own = "\n\n\n".join([self._setup(call), templates.GRADIENTS.strip("\n"), body.strip("\n")])
        own = self._spelled(self._renamed(own)).replace(_CALL, self._spelled(call))
        parts = [self._head(own), self._default(), imported, *self.writer.pieces, own]
        return f'"""{self._docstring()}"""\n\n' + "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"

    def _head(self, own: str) -> str:
        """The imports: the standard library's, then the others."""
        lines = ["import sys", f"import {self.engine}", *self.writer.imports]
        numbers = [name for name in ("inf", "nan") if re.search(rf"\b{name}\b", own)]
        lines += [f"from math import {', '.join(numbers)}"] if numbers else []
        lines += [f"from {self.engine}.autograd import forward_ad"] if "forward_ad" in own else []
        blocks: dict[bool, list[str]] = {True: [], False: []}
        for line in sorted(dict.fromkeys(lines), key=lambda line: (line.startswith("from"), line)):
            blocks[line.split()[1].partition(".")[0] in sys.stdlib_module_names].append(line)
        return "\n\n".join(["from __future__ import annotations", *("\n".join(block) for block in blocks.values())])

    def _default(self) -> str:
        """The default dtype that was set, where it is not the library's own."""
        if self.default_dtype == str(self._library().float32).rpartition(".")[2]:
            return ""
        return f"{self.engine}.set_default_dtype({self.engine}.{self.default_dtype})"

    def _name(self, own: str) -> str:
        """A name of the script's own, which gives way to the user's."""
        return f"{own}_" if own in self.writer.names else own

    def _renamed(self, text: str) -> str:
        for name in sorted(templates.own_names() & self.writer.names):
            text = re.sub(rf"(?<![.\w]){name}\b", self._name(name), text)
        return text

    def _docstring(self) -> str:
        found = self.finding
        place = f" ({found.where})" if found.where else ""
        lines = [
            f"{found.code} {found.claim}: {found.sentence}",
            "",
            f"{found.call}{place}",
            *([f"Looks like: {found.mistake}."] if found.mistake else []),
            *([f"Wrong {ONLY_HERE}."] if found.only_here else []),
            "Exits 1 while the mistake is there, 0 once it is mended.",
        ]
        return "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''") + "\n"

    def _call(self) -> str:
        """The arguments in source text, tensors by their number."""
        names = iter(range(len(self.evidence.inputs)))

        def text(value: Any) -> str:
            if isinstance(value, self._library().Tensor):
                return self._argument(next(names), value)
            if (
                isinstance(value, (list, tuple))
                and not hasattr(value, "_fields")
                and _has_tensor(value, self._library())
            ):
                items = ", ".join(map(text, value))
                return f"[{items}]" if isinstance(value, list) else f"({items},)"
            if isinstance(value, dict) and _has_tensor(list(value.values()), self._library()):
                return "{" + ", ".join(f"{key!r}: {text(item)}" for key, item in value.items()) + "}"
            return self.writer.literal(value)

        shown = []
        for number, value in enumerate(self.arguments):
            try:
                shown.append(text(value))
            except Unwritable as problem:
                raise Unwritable(f"argument {number} is {problem}, which a script cannot write down") from None
        name = self.function.__name__
        if getattr(self.function.apply, "__func__", None) is not self._library().autograd.Function.apply.__func__:  # type: ignore[attr-defined]
            return f"{self.engine}.autograd.Function.apply.__func__({', '.join([name, *shown])})"
        return f"{name}.apply({', '.join(shown)})"

    def _argument(self, k: int, given: Any) -> str:
        """Input `k` as the Function takes it: a complex one from its two parts, a bfloat16 one from float32."""
        name = f"x{k}"
        if given.is_complex():
            name = f"torch.complex({name}[..., 0], {name}[..., 1])"
        elif str(given.dtype).endswith("bfloat16") and self.evidence.inputs[k].dtype == np.float32:
            name = f"{name}.to(torch.bfloat16)"
        return f"{name}.clone()" if self.clones else name

    def _setup(self, call: str) -> str:
        shown = self.evidence
        names = [f"x{k}" for k in range(len(shown.inputs))]
        lines = []
        wanted = [
            k for k, (d, x) in enumerate(zip(shown.differentiable, shown.inputs, strict=True)) if d and is_float(x)
        ]
        lines += [f"WANTED = {wanted}  # the inputs that are differentiated", *self._constants(), "", ""]
        lines += [f"def function({', '.join(names)}):", '    """The floating outputs."""']
        lines += [f"    {names[k]} = {text}" for k, text in sorted(self.prepare.items())]
        lines += [f"    torch.manual_seed({_SEED})"] if self.is_random else []
        lines += [f"    {line}" for line in self._picked(call)]
        for name, what, arrays in self._arrays():
            lines += ["", "", f"def {name}():", f'    """{what}"""', *returned(arrays)]
        return "\n".join(lines)

    def _picked(self, call: str) -> list[str]:
        """The statements that end `function`: its floating outputs, complex ones as pairs."""
        plain = {"raw": _CALL, "one": f"[{_CALL}]", "several": f"list({_CALL})"}
        if self.form in plain:
            return [f"return {plain[self.form]}"]
        lines = [f"result = {_CALL}", "outputs = result if isinstance(result, (tuple, list)) else [result]"]
        lines += ["outputs = [y for y in outputs if isinstance(y, torch.Tensor)]"]
        if self.engine == "torch":
            lines += ["outputs = [torch.view_as_real(y) if y.is_complex() else y for y in outputs]"]
        if "bfloat16" in call:
            lines += ["outputs = [y.float() if y.dtype == torch.bfloat16 else y for y in outputs]"]
        lines += ["outputs = [y for y in outputs if y.is_floating_point()]"]
        which = "outputs" if self.outputs is None else f"[outputs[k] for k in {list(self.outputs)}]"
        return [*lines, f"return {which}"]

    def _arrays(self) -> Iterator[tuple[str, str, Sequence[Array]]]:
        shown = self.evidence
        yield "point", "The inputs, new ones each time.", shown.inputs
        yield "cotangents", "One for each output.", shown.cotangents
        if shown.directions:
            name = "signs" if self.finding.code == "GC701" else "directions"
            what = "Which way each number moves." if name == "signs" else "A tangent for each input in WANTED."
            # A sign in an integer dtype would bring the number that it moves to the default one.
            yield name, what, [v.astype(np.float64) if name == "signs" else v for v in shown.directions]
        if shown.second:
            name = "seconds" if self.finding.code in ("GC104", "GC109") else "others"
            yield name, "Cotangents of the gradients." if name == "seconds" else "Other cotangents.", shown.second
        if shown.third:
            yield "thirds", "Cotangents of the second derivatives.", shown.third
        if shown.others:
            yield "other_point", "The inputs of another call.", shown.others

    def _constants(self) -> list[str]:
        finding, shown = self.finding, self.evidence
        lines = []
        if finding.entry is None and "K" in self._template():
            k, what = (shown.output, "output") if shown.position is None else (shown.position, "input")
            lines.append(f"K = {k}  # the {what}")
        elif finding.entry is not None and shown.position is not None and "ENTRY" in self._template():
            lines.append(
                f"K, ENTRY = {shown.position}, {finding.entry}  # the entry of the gradient of x{shown.position}"
            )
            lines[-1] += "" if shown.position < len(shown.inputs) else ", which is a cotangent"
        elif finding.entry is not None:
            lines.append(f"K, ENTRY = {shown.output}, {finding.entry}  # the entry of that output")
        if "STEP" in self._template():
            lines.append(f"STEP = {self._step()}")
        if shown.subset:
            subset = [k for k, asked in enumerate(shown.subset) if asked]
            lines.append(f"SUBSET = {subset}  # those that require grad where it fails")
        if shown.used:
            lines.append(
                f"USED = {[k for k, is_used in enumerate(shown.used) if is_used]}  # the outputs that are used"
            )
        if shown.axes:
            lines.append(f"AXES = {list(shown.axes)}  # of the examples in each input")
            batched = next(k for k, axis in enumerate(shown.axes) if axis is not None)
            lines.append(f"EXAMPLES = {shown.inputs[batched].shape[shown.axes[batched] or 0]}")
        if shown.factors:
            lines.append(f"FACTORS = {shown.factors}")
        if "TIMES" in self._template():
            lines.append(f"TIMES = {2 if shown.way == 'second' else 1}")
        return lines

    def _step(self) -> float:
        """A power of two, an eighth of the size of the number that moves, or half of it in half precision."""
        held = (*self.evidence.inputs, *self.evidence.cotangents)[self.evidence.position or 0]
        size = abs(float(held[self.finding.entry or ()])) or float(np.abs(held).max(initial=0.0))
        less = 3 if self._eps() < _COARSE else 1
        return float(2.0 ** (round(math.log2(size)) - less)) if 0.0 < size < math.inf else 0.125

    def _template(self) -> str:
        """What the claim does."""
        finding, shown = self.finding, self.evidence
        if shown.used and shown.way == "raised":
            return templates.UNUSED_RAISED
        if shown.way in ("raised", "misfit"):
            template = templates.RAISED if shown.way == "raised" else templates.MISFIT
            return f"WANTED = SUBSET\n{template}" if shown.subset else template
        result = "gradients(leaves(x), u)[WANTED.index(K)]" if shown.output is None else "function(*leaves(x))[K]"
        if finding.code == "GC203":
            return templates.UNTOUCHED + (templates.UNTOUCHED_BACKWARD if shown.way == "backward" else "")
        if finding.code == "GC602":
            first = ("point", "other_point") if shown.way == "first" else ("other_point", "point")
            order = f"[{', '.join(f'leaves({name}())' for name in first)}]"
            return templates.TWO_GRAPHS.format(order=order, which=0 if shown.way == "first" else 1)
        if finding.code == "GC601":
            return templates.USED_TWICE if shown.way == "two calls" else templates.ACCUMULATED
        if finding.code == "GC605" and shown.way == "later backward":
            return templates.USED_AGAIN
        replaced = {"GC301": templates.LAYOUT, "GC605": templates.REPEATED, "GC701": templates.PRECISION}
        if finding.code in replaced:
            return replaced[finding.code].replace("{result}", result)
        if finding.code == "GC105":
            own = "pulled(x, outputs, cotangents())[WANTED.index(K)]"
            return templates.BATCHED.replace("{result}", own if shown.output is None else "outputs[K]")
        plain = {
            "GC101": templates.GRADIENT,
            "GC102": templates.FORWARD_MODE,
            "GC103": templates.LINEAR,
            "GC104": templates.SECOND_ORDER,
            "GC106": templates.MIXED.replace("{way}", shown.way.replace(" ", "_")),
            "GC107": templates.KINK,
            "GC109": templates.THIRD_ORDER,
            "GC603": templates.SUBSET,
            "GC604": templates.UNUSED,
            "GC702": templates.NARROW.replace("{narrow}", f"torch.{_narrow(shown.way)}"),
        }
        if finding.code not in plain:
            raise Unwritable(f"{finding.code} has no script")
        return plain[finding.code]

    def _bodies(self) -> Iterator[str]:
        """The last part, in the ways that there are to difference."""
        body = self._template()
        if "inner(" in body:
            body = templates.INNER.lstrip() + "\n" + body
        if "found" not in body:
            yield body + ('\nprint("agrees now")\n' if self.finding.code == "GC203" else "")
            return
        first, second = _COMPARED.get(self.finding.code, ("found", "expected"))
        if "derivative(" not in body:
            error = self.finding.error
            bound = repr(float(error)) if error is not None and math.isfinite(error) else "0.0"
            body += f"error = {bound}  # what round-off may do\n"
            yield body + templates.COMPARED.format(first=first, second=second, allowed="error")
            if self.finding.code == "GC103":
                yield self._again()
            return
        # In half precision the estimate is as large as a mistake, if it is not taken at its word.
        sure, noise = (10, 4) if self._eps() < _COARSE else (3, 1)
        allowed = f"max({sure} * error, {self._tolerance()} * abs(expected))"
        for side in templates.SIDES:
            differences = templates.DERIVATIVE.format(**side, eps=f"{noise * self._eps():.1g}")
            end = templates.COMPARED.format(first=first, second=second, allowed=allowed)
            yield differences.lstrip() + "\n" + body + end
        yield self._again()

    def _eps(self) -> float:
        """The spacing at 1 of the coarsest dtype among the inputs."""
        floating = [float(np.finfo(x.dtype).eps) for x in self.evidence.inputs if is_float(x)]
        return max([*floating, 2.0**-7 if "bfloat16" in self._call() else 0.0])

    def _again(self) -> str:
        """Where each backward pass of one graph gives another gradient, and those of fresh graphs are alike."""
        end = templates.COMPARED.format(first="again", second="at first", allowed="error")
        return templates.AGAIN + end

    def _tolerance(self) -> str:
        """Less than the mistake, and no more than what a check asks for."""
        a, n = self.finding.analytic, self.finding.numeric
        if a is None or n is None or not n or not math.isfinite(abs(a)):
            return "1e-06"
        return f"{min(1e-6, abs(a - n) / abs(n) / 8):.0e}"

    # Text ------------------------------------------------------------------------------------------------------

    def _spelled(self, text: str) -> str:
        return text if self.engine == "torch" else re.sub(r"\btorch\.", f"{self.engine}.", text)

    def _small_tensor(self, value: Any) -> str | None:
        """A tensor that a Function or its module keeps as a constant."""
        library = self._library()
        if not isinstance(value, library.Tensor):
            return None
        if value.numel() > 1_000 or value.requires_grad or value.is_complex() or str(value.device) != "cpu":
            raise Unwritable("a tensor that is large, complex, on a device, or requires grad")
        return f"{self.engine}.tensor({value.tolist()!r}, dtype={value.dtype})"


def _narrow(way: str) -> str:
    """The one dtype that a gradient is compared in; several at once are not written down."""
    names = {*way.split()} & {"float64", "float32", "float16", "bfloat16"} or {"float32"}
    if len(names) > 1:
        raise Unwritable(f"a comparison in {' and '.join(sorted(names))} at once")
    return names.pop()


def _has_tensor(tree: Any, library: Any) -> bool:
    if isinstance(tree, (list, tuple)):
        return any(_has_tensor(item, library) for item in tree)
    if isinstance(tree, dict):
        return any(_has_tensor(item, library) for item in tree.values())
    return isinstance(tree, library.Tensor)
