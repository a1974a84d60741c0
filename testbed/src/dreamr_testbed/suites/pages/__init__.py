"""Suites pages and pages-hard: questions about documents of two to four pages.

Statements carry a balance from page to page, invoices have counts and prices on different pages,
and timetables have one bus line per page. No result has more than two digits.
"""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites.pages.invoice import Invoice, draw_invoice, draw_long_invoice
from dreamr_testbed.suites.pages.statement import Statement, draw_long_statement, draw_statement
from dreamr_testbed.suites.pages.timetable import Timetable, draw_long_timetable, draw_timetable

__all__ = ["Invoice", "Statement", "Timetable", "generate", "generate_hard"]


def generate(rng: Random, level: int) -> Statement | Invoice | Timetable:
    """Draw a random document of two or three pages; higher levels (1 to 3) have more lines."""
    return rng.choice((draw_statement, draw_invoice, draw_timetable))(rng, level)


def generate_hard(rng: Random, level: int) -> Statement | Invoice | Timetable:
    """Draw a random document whose solution takes 8 to 26 steps; higher levels are longer."""
    return rng.choice((draw_long_statement, draw_long_invoice, draw_long_timetable))(rng, level)
