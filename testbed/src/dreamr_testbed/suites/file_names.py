"""Names of the files that documents come from."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from string import ascii_letters, digits

from dreamr_testbed.suites.problem import Problem


def draw_file_name(rng: Random) -> str:
    """Draw the name of a PDF file: a usual one, one with a number, or any characters."""
    known = rng.choice(("bill", "document", "invoice", "scan", "statement", "timetable"))
    other = "".join(rng.choices(ascii_letters + digits + "-_ ", k=rng.randint(1, 16)))
    return rng.choice((known, other, f"{known}-{rng.randint(1, 2030)}")) + ".pdf"


def with_file_name(problem: Problem) -> Problem:
    """Return a problem with the name of a file, which depends only on the problem."""
    rng = Random(f"file name/{problem.suite}/{problem.split}/{problem.index}")
    return replace(problem, file=draw_file_name(rng))
