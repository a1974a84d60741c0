"""The gates that users choose by name; the other gates belong to a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, TypeAlias

from dreamr.gate.adaptive import AdaptiveGate
from dreamr.gate.cascade import CascadeGate
from dreamr.gate.draft_first import DraftFirstGate
from dreamr.gate.entropy import EntropyGate
from dreamr.gate.learned import LearnedGate
from dreamr.gate.likelihood import LikelihoodGate
from dreamr.gate.ratio import RatioGate
from dreamr.gate.tolerant import TolerantGate
from dreamr.gate.two_questions import TwoQuestionsGate
from dreamr.gate.verdict import Gate
from dreamr.gate.word import WordGate

GateName: TypeAlias = Literal[
    "ratio",
    "adaptive",
    "cascade",
    "likelihood",
    "word",
    "entropy",
    "draft-first",
    "two-questions",
    "tolerant",
]  # those that need no training

GATES: Mapping[str, type[Any]] = {
    "ratio": RatioGate,
    "adaptive": AdaptiveGate,
    "cascade": CascadeGate,
    "likelihood": LikelihoodGate,
    "learned": LearnedGate,
    "word": WordGate,
    "entropy": EntropyGate,
    "draft-first": DraftFirstGate,
    "two-questions": TwoQuestionsGate,
    "tolerant": TolerantGate,
}


def make_gate(name: str, settings: Mapping[str, Any]) -> Gate:
    """Create a gate from settings, of which it takes those that it has; None is its default.

    Args:
        name: Name of the gate.
        settings: Values by name, also of other gates.
    """
    kind = GATES[name]
    known = {item.name for item in fields(kind)}
    given = {key: value for key, value in settings.items() if value is not None}
    made: Gate = kind(**{key: given[key] for key in given.keys() & known})
    return made


def gate_name(gate: object) -> str:
    """Return the name of a gate for messages: as users choose it, or the name of its class."""
    return next((name for name, kind in GATES.items() if type(gate) is kind), type(gate).__name__)
