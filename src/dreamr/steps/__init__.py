"""Cutting reasoning into steps."""

from dreamr.steps._cutter import Cutting, StepCutter
from dreamr.steps._step import Ending, Step

__all__ = ["Cutting", "Ending", "Step", "StepCutter"]
