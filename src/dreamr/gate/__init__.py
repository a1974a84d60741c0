"""Gates: rules that turn evidence about a step into accept or reject."""

from dreamr.gate.adaptive import AdaptiveGate
from dreamr.gate.cascade import CascadeGate
from dreamr.gate.evidence import Evidence
from dreamr.gate.labels import Labels
from dreamr.gate.learned import SIGNALS, LearnedGate, signals
from dreamr.gate.likelihood import LikelihoodGate
from dreamr.gate.peers import AgreementGate, SameGate, ScoreGate
from dreamr.gate.profile import Bounds, Profile, Reference, read_profile, write_profile
from dreamr.gate.query import VERDICT, Asks, Query
from dreamr.gate.ratio import RatioGate
from dreamr.gate.registry import GATES
from dreamr.gate.strictness import at_strictness, strictness
from dreamr.gate.verdict import SCORE_NAMES, Gate, ScoreKind, StepContext, Verdict, stricter

__all__ = [
    "GATES",
    "SCORE_NAMES",
    "SIGNALS",
    "VERDICT",
    "AdaptiveGate",
    "AgreementGate",
    "Asks",
    "Bounds",
    "CascadeGate",
    "Evidence",
    "Gate",
    "Labels",
    "LearnedGate",
    "LikelihoodGate",
    "Profile",
    "Query",
    "RatioGate",
    "Reference",
    "SameGate",
    "ScoreGate",
    "ScoreKind",
    "StepContext",
    "Verdict",
    "at_strictness",
    "read_profile",
    "signals",
    "stricter",
    "strictness",
    "write_profile",
]
