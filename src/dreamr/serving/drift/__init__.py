"""Audits of accepted steps: does the target still agree with them?"""

from dreamr.serving.drift.controller import Controller
from dreamr.serving.drift.detector import Detector
from dreamr.serving.drift.watch import OUTCOMES, Outcome, Watch

__all__ = ["OUTCOMES", "Controller", "Detector", "Outcome", "Watch"]
