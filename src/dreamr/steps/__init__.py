"""Steps, and the splitting of a stream into steps."""

from dreamr.steps.splitter import StepFormat, StepSplitter
from dreamr.steps.step import Ending, Finish, Role, Step

__all__ = ["Ending", "Finish", "Role", "Step", "StepFormat", "StepSplitter"]
