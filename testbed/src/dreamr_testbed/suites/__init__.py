"""Suites of drawn problems with reference reasoning: documents, panel stories, scenes of shapes."""

from dreamr_testbed.suites.canvas import GRID, PATCH, SIDE, Canvas
from dreamr_testbed.suites.draw import EXTRA_SUITES, LEVELS, SUITES, make_problem
from dreamr_testbed.suites.items import (
    FIRST,
    ProblemCheck,
    item_of,
    load_docmath,
    load_gap,
    load_story,
    load_suite,
    load_vqa,
    reads_as_reference,
)
from dreamr_testbed.suites.problem import Problem, ReferenceStep, Scene, is_correct

__all__ = [
    "EXTRA_SUITES",
    "FIRST",
    "GRID",
    "LEVELS",
    "PATCH",
    "SIDE",
    "SUITES",
    "Canvas",
    "Problem",
    "ProblemCheck",
    "ReferenceStep",
    "Scene",
    "is_correct",
    "item_of",
    "load_docmath",
    "load_gap",
    "load_story",
    "load_suite",
    "load_vqa",
    "make_problem",
    "reads_as_reference",
]
