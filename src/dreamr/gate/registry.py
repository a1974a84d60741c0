"""The gates that users choose by name; the other gates belong to a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamr.gate.adaptive import AdaptiveGate
from dreamr.gate.cascade import CascadeGate
from dreamr.gate.learned import LearnedGate
from dreamr.gate.likelihood import LikelihoodGate
from dreamr.gate.ratio import RatioGate

GATES: Mapping[str, type[Any]] = {
    "ratio": RatioGate,
    "adaptive": AdaptiveGate,
    "cascade": CascadeGate,
    "likelihood": LikelihoodGate,
    "learned": LearnedGate,
}
