"""Suites of drawn problems with reference reasoning.

Documents, panel stories and scenes of shapes; documents of several pages and clips of several
frames; and longer problems of each, with `-hard` in their names.
"""

from dreamr_testbed.suites.canvas import GRID, PATCH, SIDE, Canvas
from dreamr_testbed.suites.draw import (
    EXTRA_SUITES,
    LEVELS,
    SUITES,
    TRAINED,
    draw_scene,
    make_problem,
)
from dreamr_testbed.suites.items import (
    FIRST,
    ProblemCheck,
    item_of,
    load_clip,
    load_clip_hard,
    load_docmath,
    load_docmath_hard,
    load_gap,
    load_pages,
    load_pages_hard,
    load_spoken,
    load_story,
    load_story_hard,
    load_suite,
    load_vqa,
    load_vqa_hard,
    reads_as_reference,
)
from dreamr_testbed.suites.media import (
    ask_about,
    conversation_of,
    places_of,
    step_places,
    times,
)
from dreamr_testbed.suites.problem import Medium, Problem, ReferenceStep, Scene, is_correct

__all__ = [
    "EXTRA_SUITES",
    "FIRST",
    "GRID",
    "LEVELS",
    "PATCH",
    "SIDE",
    "SUITES",
    "TRAINED",
    "Canvas",
    "Medium",
    "Problem",
    "ProblemCheck",
    "ReferenceStep",
    "Scene",
    "ask_about",
    "conversation_of",
    "draw_scene",
    "is_correct",
    "item_of",
    "load_clip",
    "load_clip_hard",
    "load_docmath",
    "load_docmath_hard",
    "load_gap",
    "load_pages",
    "load_pages_hard",
    "load_spoken",
    "load_story",
    "load_story_hard",
    "load_suite",
    "load_vqa",
    "load_vqa_hard",
    "make_problem",
    "places_of",
    "reads_as_reference",
    "step_places",
    "times",
]
