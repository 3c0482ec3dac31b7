"""What a planted mistake is: a wrong function, its right twin, the call of an ordinary test, and who must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradcheck.mistake import Mistake


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """One mistake.

    Attributes
    ----------
    name : str
        Unique within an engine.
    group : str
        The kind of mistake, as docs/oracle.md lists them.
    wrong, right : callable
        The two functions: the ``apply`` of a Function, a custom_vjp.
    codes : frozenset of str
        Claims of which at least one must fail on the wrong one.
    mistake : Mistake
        What a diagnosis should call it.
    inputs : tuple
        What an ordinary test passes: generic numbers, chosen to show nothing.
    engine : str
    is_differentiated_again : bool
        The ordinary test differentiates the gradient.
    """

    name: str
    group: str
    wrong: Callable[..., Any]
    right: Callable[..., Any]
    codes: frozenset[str]
    mistake: Mistake
    inputs: tuple[Any, ...]
    engine: str
    is_differentiated_again: bool = False


class Rules:
    """Where a file of mistakes puts them; one call a mistake.

    Parameters
    ----------
    library : module
        torch or refengine, which spell alike what the rules need; or another library in their spelling.
    engine : str

    Attributes
    ----------
    is_eager : bool
        Whether rules may have arguments that are no tensors, and loop over rows without a compilation for each.
    """

    is_eager = True

    def __init__(self, library: Any, engine: str) -> None:
        self.library = library
        self.engine = engine
        self.found: list[Planted] = []

    def function(self, name: str, forward: Callable[..., Any], backward: Callable[..., Any], **more: Any) -> Any:
        """A Function that saves its tensors: ``forward(*inputs)``, ``backward(g..., *saved)``; `more` are members."""
        tensor = self.library.Tensor

        def run(ctx: Any, *inputs: Any) -> Any:
            ctx.save_for_backward(*(x for x in inputs if isinstance(x, tensor)))
            ctx.others = [x for x in inputs if not isinstance(x, tensor)]
            return forward(*inputs)

        def pull(ctx: Any, *cotangents: Any) -> Any:
            result = backward(*cotangents, *ctx.saved_tensors, *ctx.others)
            return (*result, *(None for _ in ctx.others)) if isinstance(result, tuple) else result

        members = {"forward": staticmethod(run), "backward": staticmethod(pull), "__module__": __name__, **more}
        return type(name, (self.library.autograd.Function,), members)

    def plant(
        self,
        name: str,
        group: str,
        wrong: Any,
        right: Any,
        codes: str,
        mistake: Mistake,
        inputs: tuple[Any, ...],
        **more: Any,
    ) -> None:
        """Add a mistake made of two functions; `codes` are words."""
        both = (getattr(made, "apply", made) for made in (wrong, right))
        self.found.append(Planted(name, group, *both, frozenset(codes.split()), mistake, inputs, self.engine, **more))

    def rule(
        self,
        name: str,
        group: str,
        forward: Callable[..., Any],
        wrong: Callable[..., Any],
        right: Callable[..., Any],
        codes: str,
        mistake: Mistake,
        inputs: tuple[Any, ...],
    ) -> None:
        """Add a mistake that is another backward of the same forward."""
        title = "".join(word.capitalize() for word in name.replace("-", " ").split())
        self.plant(
            name, group, self.function(title, forward, wrong), self.function(f"{title}Mended", forward, right),
            codes, mistake, inputs,
        )  # fmt: skip
