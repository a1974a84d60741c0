"""Cutting reasoning into steps."""

from dreamr.steps.splitter import StepFormat, StepSplitter
from dreamr.steps.step import Ending, Step

__all__ = ["Ending", "Step", "StepFormat", "StepSplitter"]
