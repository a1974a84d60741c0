"""Progress of long commands: a bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_EVERY = 30.0  # seconds between lines without a terminal

Show: TypeAlias = Callable[[int, str], None]


@contextmanager
def shown(console: Console, total: int, unit: str) -> Iterator[Show]:
    """Yield a function that shows progress: it takes the number done and a note on the last.

    Args:
        console: Where progress is shown.
        total: Number that is done at the end.
        unit: What is counted, in the plural.
    """
    if not console.is_terminal:
        yield _plain(console, total, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("loading the models", total=total)

        def show(done: int, what: str) -> None:
            bar.update(row, completed=done, description=f"{what:<36}")

        yield show


def _plain(console: Console, total: int, unit: str) -> Show:
    last = time.monotonic()

    def show(done: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last > _PLAIN_EVERY or done == total:
            last = time.monotonic()
            console.print(f"{done} of {total} {unit}, last: {what}")

    return show
