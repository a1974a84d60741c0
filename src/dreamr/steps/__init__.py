"""Steps, the splitting of a stream into steps, and thoughts of reasoning models."""

from dreamr.steps.repetition import LoopSearch, StepHistory
from dreamr.steps.splitter import StepSplitter
from dreamr.steps.step import Ending, Finish, Role, Step
from dreamr.steps.step_format import StepFormat
from dreamr.steps.thoughts import (
    THINK,
    THOUGHT,
    TagFilter,
    Thoughts,
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
    "LoopSearch",
    "Role",
    "Step",
    "StepFormat",
    "StepHistory",
    "StepSplitter",
    "TagFilter",
    "Thoughts",
    "conclusion",
    "ends_inside",
    "opens_thought",
    "without_tags",
]
