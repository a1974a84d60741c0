"""Steps, the splitting of a stream into steps, and thoughts of reasoning models."""

from dreamr.steps.splitter import StepSplitter
from dreamr.steps.step import Ending, Finish, Role, Step
from dreamr.steps.step_format import StepFormat
from dreamr.steps.thoughts import (
    THINK,
    THOUGHT,
    TagFilter,
    conclusion,
    ends_inside,
    opens_thought,
    without_tags,
)

__all__ = [
    "THINK",
    "THOUGHT",
    "Ending",
    "Finish",
    "Role",
    "Step",
    "StepFormat",
    "StepSplitter",
    "TagFilter",
    "conclusion",
    "ends_inside",
    "opens_thought",
    "without_tags",
]
