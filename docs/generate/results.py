"""Write docs/results.md: results.template.md with tables from the committed results files.

    python docs/generate/results.py > docs/results.md

In the template, `{{ NAME }}` stands for a table of `tables` and `{{ machine FILE }}` for
the processor of a results file. Figures are read from benchmarks/results, so the page agrees with
the files.
"""

from __future__ import annotations

import re
from pathlib import Path

from tables import TABLES
from tables.figures import machine

TEMPLATE = Path(__file__).with_name("results.template.md")


def filled(match: re.Match[str]) -> str:
    """Return what a placeholder stands for."""
    name, _, file = match[1].partition(" ")
    return machine(file) if name == "machine" else "\n".join(TABLES[name]())


def page() -> str:
    """Return the page."""
    return re.sub(r"\{\{ (.*?) \}\}", filled, TEMPLATE.read_text("utf-8"))


if __name__ == "__main__":
    print(page(), end="")
