"""Gates: rules that turn evidence about a step into accept or reject."""

from dreamr.gate.adaptive import AdaptiveGate
from dreamr.gate.cascade import CascadeGate
from dreamr.gate.draft_first import DraftFirstGate
from dreamr.gate.entropy import EntropyGate
from dreamr.gate.evidence import Evidence
from dreamr.gate.labels import Labels
from dreamr.gate.learned import SIGNALS, LearnedGate, signals
from dreamr.gate.likelihood import LikelihoodGate
from dreamr.gate.peers import AgreementGate, SameGate, ScoreGate
from dreamr.gate.profile import Bounds, Profile, Reference, read_profile, write_profile
from dreamr.gate.query import VERDICT, Need, Query, QueryKind
from dreamr.gate.ratio import RatioGate, with_min_mass
from dreamr.gate.registry import GATES, GateName, gate_name, make_gate
from dreamr.gate.strictness import at_strictness, has_threshold, strictness
from dreamr.gate.tolerant import TolerantGate
from dreamr.gate.two_questions import TwoQuestionsGate
from dreamr.gate.verdict import (
    CUT_REASON,
    SCORE_NAMES,
    Gate,
    ScoreKind,
    StepContext,
    Verdict,
    stricter,
)
from dreamr.gate.word import WordGate

__all__ = [
    "CUT_REASON",
    "GATES",
    "SCORE_NAMES",
    "SIGNALS",
    "VERDICT",
    "AdaptiveGate",
    "AgreementGate",
    "Bounds",
    "CascadeGate",
    "DraftFirstGate",
    "EntropyGate",
    "Evidence",
    "Gate",
    "GateName",
    "Labels",
    "LearnedGate",
    "LikelihoodGate",
    "Need",
    "Profile",
    "Query",
    "QueryKind",
    "RatioGate",
    "Reference",
    "SameGate",
    "ScoreGate",
    "ScoreKind",
    "StepContext",
    "TolerantGate",
    "TwoQuestionsGate",
    "Verdict",
    "WordGate",
    "at_strictness",
    "gate_name",
    "has_threshold",
    "make_gate",
    "read_profile",
    "signals",
    "stricter",
    "strictness",
    "with_min_mass",
    "write_profile",
]
