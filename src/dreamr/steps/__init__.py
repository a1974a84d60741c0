"""Cutting reasoning into steps."""

from dreamr.steps._step import Ending, Step

__all__ = ["Ending", "Step"]
