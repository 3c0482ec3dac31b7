"""What a run says while it goes on: one frozen record an event, consumed by the reports and by the plugin."""

from __future__ import annotations

from dataclasses import dataclass, field

from gradcheck.failures import Finding


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One item of the property suite: a claim on the drawn programs of one op group, on one engine."""

    engine: str
    device: str
    claim: str
    group: str

    @property
    def place(self) -> str:
        """Engine and device, as ids and tables name them: "torch-cpu"."""
        return f"{self.engine}-{self.device}"

    def __str__(self) -> str:
        return f"{self.place}::{self.claim}[{self.group}]"


@dataclass(frozen=True, slots=True)
class CaseChecked:
    """One drawn case was checked. `ops` are the ops it called; `reason` counts the inconclusive ones."""

    target: Target
    verdict: str
    ops: tuple[str, ...]
    reason: str = ""
    vacuous: bool = False


@dataclass(frozen=True, slots=True)
class CaseSkipped:
    """One drawn case could not be tried (the engine lacks an op, say)."""

    target: Target
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The shrunk failure of a target. `case` is the self-contained replay id."""

    target: Target
    finding: Finding
    case: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A target is done; seconds are wall-clock."""

    target: Target
    seconds: float


Event = CaseChecked | CaseSkipped | Found | Finished


@dataclass(slots=True)
class Tally:
    """Counts of one target, or of several added up. ``tried`` includes the vacuous and the inconclusive."""

    tried: int = 0
    agreed: int = 0
    inconclusive: int = 0
    vacuous: int = 0
    skipped: int = 0
    disagreed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, CaseSkipped):
            self.skipped += 1
            self._because(event.reason)
        elif isinstance(event, CaseChecked):
            self.tried += 1
            if event.vacuous:
                self.vacuous += 1
            elif event.verdict == "agree":
                self.agreed += 1
            elif event.verdict == "inconclusive":
                self.inconclusive += 1
                self._because(event.reason)
        elif isinstance(event, Found):
            self.disagreed += 1

    def _because(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
