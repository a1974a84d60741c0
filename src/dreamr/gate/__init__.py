"""The rule that turns evidence into accept or reject."""

from dreamr.gate._evidence import Evidence
from dreamr.gate._labels import Labels
from dreamr.gate._verdict import FixedGate, Gate, Situation, Verdict

__all__ = ["Evidence", "FixedGate", "Gate", "Labels", "Situation", "Verdict"]
