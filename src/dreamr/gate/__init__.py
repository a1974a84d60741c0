"""The rule that turns evidence into accept or reject."""

from collections.abc import Mapping
from typing import Any

from dreamr.gate.adaptive import AdaptiveGate
from dreamr.gate.cascade import CascadeGate
from dreamr.gate.evidence import Evidence
from dreamr.gate.labels import Labels
from dreamr.gate.learned import SIGNALS, LearnedGate, signals
from dreamr.gate.likelihood import LikelihoodGate
from dreamr.gate.peers import AgreementGate, SameGate, ScoreGate
from dreamr.gate.query import VERDICT, Asks, Query
from dreamr.gate.ratio import RatioGate
from dreamr.gate.strictness import at_strictness, strictness
from dreamr.gate.verdict import Gate, ScoreKind, StepContext, Verdict, stricter

# Those of this project, by the names that people give; the others belong to a method.
GATES: Mapping[str, type[Any]] = {
    "ratio": RatioGate,
    "adaptive": AdaptiveGate,
    "cascade": CascadeGate,
    "likelihood": LikelihoodGate,
    "learned": LearnedGate,
}

__all__ = [
    "GATES",
    "SIGNALS",
    "VERDICT",
    "AdaptiveGate",
    "AgreementGate",
    "Asks",
    "CascadeGate",
    "Evidence",
    "Gate",
    "Labels",
    "LearnedGate",
    "LikelihoodGate",
    "Query",
    "RatioGate",
    "SameGate",
    "ScoreGate",
    "ScoreKind",
    "StepContext",
    "Verdict",
    "at_strictness",
    "signals",
    "stricter",
    "strictness",
]
