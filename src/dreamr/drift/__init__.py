"""A watch over runs: whether what is accepted is still what the target would say."""

from dreamr.drift._controller import Controller
from dreamr.drift._detector import Detector
from dreamr.drift._watch import OUTCOMES, Outcome, Watch

__all__ = ["OUTCOMES", "Controller", "Detector", "Outcome", "Watch"]
