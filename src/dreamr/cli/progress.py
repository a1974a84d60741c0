"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_EVERY = 30.0  # seconds between two lines where there is no terminal

Show: TypeAlias = Callable[[int, str], None]


@contextmanager
def shown(console: Console, total: int, unit: str) -> Iterator[Show]:
    """What to call with the number of what is done, and a few words about the last of it.

    unit: what is counted, in the plural.
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
        row = bar.add_task("opening the models", total=total)

        def show(done: int, what: str) -> None:
            bar.update(row, completed=done, description=f"{what:<36}")

        yield show


def _plain(console: Console, total: int, unit: str) -> Show:
    last = time.monotonic()

    def show(done: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last > _PLAIN_EVERY or done == total:
            last = time.monotonic()
            console.print(f"{done} of {total} {unit}, the last: {what}")

    return show
