"""The bundled reference engine as an engine: PyTorch's interface, so nothing differs but the name."""

from __future__ import annotations

from gradcheck.engines.torchlike import TorchLike


class ReferenceEngine(TorchLike):
    """The adapter of refengine.

    Parameters
    ----------
    device : str
        "cpu".
    """

    name = "refengine"

    def __init__(self, device: str = "cpu") -> None:
        import refengine

        super().__init__(refengine, device)
