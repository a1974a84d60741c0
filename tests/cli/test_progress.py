"""Lines about work in progress on a terminal: their text comes from logs, files and plugins."""

from __future__ import annotations

import io

from rich.console import Console

from dreamr.cli.progress import shown
from dreamr.cli.up import _Progress

# What rich would take for markup: an end without a start, and a style.
BRACKETS = "Hello[/INST] (core.py:93) [red]Hi[core.py:93]"


def terminal() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=120, markup=False)
    return console, file


def test_log_lines_of_a_starting_server_are_shown_as_they_are() -> None:
    console, file = terminal()
    progress = _Progress(console)
    progress.show([f"big: starting for 3 s: {BRACKETS}"])
    progress.stop()
    assert f"big: starting for 3 s: {BRACKETS}" in file.getvalue()


def test_the_name_of_the_last_item_of_a_bar_is_shown_as_it_is() -> None:
    console, file = terminal()
    with shown(console, 2, "samples") as show:
        show(1, BRACKETS)
    assert BRACKETS in file.getvalue()
