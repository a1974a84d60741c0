"""Cutting reasoning into steps."""

from dreamr.steps.splitter import Cutting, StepCutter
from dreamr.steps.step import Ending, Step

__all__ = ["Cutting", "Ending", "Step", "StepCutter"]
