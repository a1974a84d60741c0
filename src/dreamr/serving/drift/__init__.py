"""A watch over runs: whether what is accepted is still what the target would say."""

from dreamr.serving.drift.controller import Controller
from dreamr.serving.drift.detector import Detector
from dreamr.serving.drift.watch import OUTCOMES, Outcome, Watch

__all__ = ["OUTCOMES", "Controller", "Detector", "Outcome", "Watch"]
