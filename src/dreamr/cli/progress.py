"""Progress of long commands: a bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dreamr.serving.batch.summary import duration

_PLAIN_EVERY = 30.0  # seconds between lines without a terminal

Show: TypeAlias = Callable[[int, str], None]


@contextmanager
def shown(console: Console, total: int, unit: str, note: str = "last: ") -> Iterator[Show]:
    """Yield a function that shows progress: it takes the number done and a note on the last.

    Args:
        console: Where progress is shown.
        total: Number that is done at the end.
        unit: What is counted, in the plural.
        note: Stands before the note on lines.
    """
    if not console.is_terminal:
        yield _plain(console, total, unit, note)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("loading the models", total=total)

        def show(done: int, what: str) -> None:
            bar.update(row, completed=done, description=f"{what:<36}")

        yield show


class _RateColumn(ProgressColumn):
    """How much is done in a second, or in an hour if that is little."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last half minute."""
        return Text(_rate(task.speed or 0.0))


def _rate(speed: float) -> str:
    """Return a rate, given what is done in a second."""
    if speed <= 0:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{speed * 3600:.0f}/h"


def _plain(console: Console, total: int, unit: str, note: str) -> Show:
    first: tuple[float, int] | None = None  # time and number of the first call
    last, is_over = time.monotonic(), False

    def show(done: int, what: str) -> None:
        nonlocal first, last, is_over
        now = time.monotonic()
        first = first or (now, done)
        if is_over or not (now - last > _PLAIN_EVERY or done == total):
            return
        last, is_over = now, done == total
        pace = ""
        if not is_over and done > first[1]:
            speed = (done - first[1]) / (now - first[0])
            pace = f", {_rate(speed)}, {duration((total - done) / speed)} left"
        console.print(f"{done} of {total} {unit}{pace}, {note}{what}")

    return show
