"""The rule that turns evidence into accept or reject."""

from collections.abc import Mapping
from typing import Any

from dreamr.gate._adaptive import AdaptiveGate
from dreamr.gate._cascade import CascadeGate, ContinuationGate
from dreamr.gate._evidence import Evidence
from dreamr.gate._labels import Labels
from dreamr.gate._learned import SIGNALS, LearnedGate, signals
from dreamr.gate._peers import AgreementGate, SameGate, ScoreGate
from dreamr.gate._query import VERDICT, Asks, Query
from dreamr.gate._strictness import at_strictness, strictness
from dreamr.gate._verdict import FixedGate, Gate, Situation, Verdict, stricter

# Those of this project, by the names that people give; the others belong to a method.
GATES: Mapping[str, type[Any]] = {
    "fixed": FixedGate,
    "adaptive": AdaptiveGate,
    "cascade": CascadeGate,
    "continuation": ContinuationGate,
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
    "ContinuationGate",
    "Evidence",
    "FixedGate",
    "Gate",
    "Labels",
    "LearnedGate",
    "Query",
    "SameGate",
    "ScoreGate",
    "Situation",
    "Verdict",
    "at_strictness",
    "signals",
    "stricter",
    "strictness",
]
