"""Help texts: their form, and how they look in a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from dreamr.cli import main
from dreamr.cli.app import build_app
from dreamr.cli.epilog import EXAMPLES


def _names(group: Any, *before: str) -> Iterator[str]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from _names(found, *before, name)
        else:
            yield " ".join((*before, name))


COMMANDS = tuple(_names(typer.main.get_command(build_app())))
TEXT_WIDTH = 76  # columns of a terminal of 80 without margins
# Two lines of the panel if its flags are short. Long flags leave about 40 columns: three lines.
HELP_LENGTH = 110
PANEL_LINES = 4  # with the default, which has a line of its own


@pytest.fixture(scope="module")
def command() -> Callable[[str], Any]:
    root = typer.main.get_command(build_app())

    def find(name: str) -> Any:
        found: Any = root
        for part in name.split():
            found = found.commands[part]
        return found

    return find


@pytest.fixture
def narrow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The help of a command as a terminal of 80 columns shows it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)

    def show(name: str) -> str:
        assert main([*name.split(), "--help"]) == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_text_is_a_sentence_of_at_most_two_lines(
    name: str, command: Callable[[str], Any]
) -> None:
    for option in command(name).params:
        if option.name in ("help", "context"):
            continue
        text = option.help
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert len(text) <= HELP_LENGTH, text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_page_fits_a_terminal_of_80_columns(name: str, narrow: Callable[[str], str]) -> None:
    page = narrow(name)
    assert max(map(cell_len, page.splitlines())) <= 80
    tall = [rows for rows in _rows(page) if len(rows) > PANEL_LINES]
    assert not tall, "\n\n".join("\n".join(rows) for rows in tall)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_summary_and_examples_of_itself(
    name: str, command: Callable[[str], Any]
) -> None:
    found = command(name)
    summary = found.help.partition("\n\n")[0]
    assert summary[0].isupper()
    assert summary.endswith(".")
    assert found.epilog.startswith(EXAMPLES)
    assert f"  dreamr {name}" in found.epilog


def _examples(command: Callable[[str], Any]) -> Iterator[str]:
    for name in COMMANDS:
        for line in command(name).epilog.partition("\n\n")[0].splitlines()[1:]:
            yield line.strip()


def test_examples_are_short_and_use_flags_that_exist(command: Callable[[str], Any]) -> None:
    for line in _examples(command):
        assert len(line) <= TEXT_WIDTH, line
        words = line.split()[1:]
        name = next(c for c in COMMANDS if " ".join(words).startswith(c))
        known = {flag for option in command(name).params for flag in option.opts}
        assert not set(re.findall(r"(?<= )--?[a-z][\w-]*", line)) - known, line


def _rows(page: str) -> Iterator[list[str]]:
    """The lines of each option in the panels."""
    row: list[str] = []
    for line in page.splitlines():
        inside = line.startswith("│")
        if inside and not re.match(r"│ [* ] *-|│ +-", line) and row:
            row.append(line)
            continue
        if row:
            yield row
        row = [line] if inside else []
    if row:
        yield row
