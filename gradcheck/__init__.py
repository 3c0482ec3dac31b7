"""Check the gradients of any autograd engine, or of one function: the public face.

``check`` returns a report, ``assert_check`` raises unless it agrees, ``check_module`` looks at a module in both modes.
``explore`` and ``assert_explore`` look at other inputs too, drawn like those given.
"""

from __future__ import annotations

from gradcheck.checks import default_claims
from gradcheck.checks.claim import Claim, Claims, Subject
from gradcheck.engines.base import Capability, Engine
from gradcheck.engines.registry import Engines
from gradcheck.engines.registry import register as register_engine
from gradcheck.examination import assert_check, check, check_module
from gradcheck.exploration import assert_explore, explore
from gradcheck.failures import Finding, GradcheckError, GradcheckFailure, Unsupported, UsageError
from gradcheck.report.result import Report, format_finding
from gradcheck.verdict import Outcome, Verdict

__all__ = [
    "check", "assert_check", "check_module", "explore", "assert_explore",
    "Report", "Verdict", "Outcome", "Finding", "format_finding",
    "GradcheckError", "GradcheckFailure", "UsageError", "Unsupported",
    "Claim", "Claims", "Subject", "default_claims",
    "Engine", "Engines", "Capability", "register_engine",
]  # fmt: skip
