"""Display of a run on standard error.

The source of a step is a word as well as a color, for terminals and readers without color.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from dreamr.gate import Verdict
from dreamr.steps import without_tags
from dreamr.trace import (
    Event,
    Note,
    Result,
    RunStarted,
    SpeechTranscribed,
    StepCommitted,
    StepReady,
    StepRejected,
)

_COLORS = {"draft": "green", "target": "bright_blue", "rejected": "red"}
_UNWRAPPED = 2**31
_WIDE = 400  # columns


def stderr_console() -> Console:
    """Return a console on standard error, with colors if that supports them."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def stdout_console(width: int = _WIDE) -> Console:
    """Return a console for tables on standard output.

    Args:
        width: Columns without a terminal, so that programs get rows in one line.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = width
    return console


def uncut_table(*heads: str, pad_edge: bool = True) -> Table:
    """Return a table whose cells are never cut: users copy names and addresses from it.

    Args:
        heads: Heads of the columns.
        pad_edge: Whether the outer columns have space around them.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=pad_edge)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


class _NoteHandler(logging.Handler):
    """Prints log records as notes."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        self._console.print(Text(f"note: {printable(record.getMessage())}", "yellow"))


class Screen:
    """Shows the events of one run, step by step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._frontier = 0

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show a spinner with a line of text, on terminals only."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(what, "dim")) as self._status:
            try:
                yield
            finally:
                self._status = None

    def show(self, event: Event) -> None:
        """Print the event, if it is of interest to readers."""
        match event:
            case RunStarted():
                self._say("thinking")
            case StepReady(role="draft") if event.position >= self._frontier:
                self._say(
                    f"the draft is {_count(event.position + 1 - self._frontier, 'step')} ahead"
                )
            case StepCommitted():
                self._frontier = event.position + 1
                self._step(event.position, event.source, event.step.text, event.verdict)
            case StepRejected():
                self._step(event.position, "rejected", event.step.text, event.verdict)
            case SpeechTranscribed(name=name, text=text):
                said = printable(text) if text else "no speech"
                self._console.print(Text(f"speech in {printable(name)}: {said}", "cyan"))
            case Note():
                self._console.print(Text(f"note: {event.message}", "yellow"))

    def summary(self, result: Result) -> None:
        """Print one line of statistics."""
        self._console.print(Text(_summary(result), "dim"))

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Show what the engines warn of, such as a server's odd responses, as notes."""
        handler, logger = _NoteHandler(self._console), logging.getLogger("dreamr")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def line(self, text: str) -> None:
        """Print a line about the run."""
        self._console.print(Text(text, "dim"))

    def _say(self, what: str) -> None:
        if self._status is not None:
            self._status.update(Text(what, "dim"))

    def _step(self, position: int, who: str, text: str, verdict: Verdict | None) -> None:
        color = _COLORS[who]
        score = "" if verdict is None else verdict.score_text
        line = Text.assemble(
            (f"{position + 1:>3} ", "dim"),
            (f"{who:<8} ", f"bold {color}"),
            (f"{score:<16} ", color),
        )
        indent = line.cell_len
        style = f"strike {color}" if who == "rejected" else color
        # Lines in files and pipes are not wrapped.
        width = self._console.width - indent if self._console.is_terminal else _UNWRAPPED
        body = Text(printable(without_tags(text)).strip(), style, overflow="fold")
        wrapped = body.wrap(self._console, max(width, 20))
        for number, part in enumerate(wrapped):
            self._console.print(
                Text(" " * indent) + part if number else line + part, soft_wrap=True
            )


def printable(text: str) -> str:
    """Return the text with control characters of terminals replaced."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _summary(result: Result) -> str:
    drafted = [step for step in result.steps if step.source == "draft"]
    usage = result.usage
    kept = usage.draft.accepted + usage.target.kept
    lost = usage.draft.written + usage.target.written - kept
    parts = [f"{_count(len(result.steps), 'step')} in {result.seconds:.2f} s"]
    if usage.draft.written:
        parts.append(f"{len(drafted)} by the draft")
    parts.append(f"{_count(kept, 'token')} committed, {lost:,} discarded")
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
