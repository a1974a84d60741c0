"""Published benchmarks: files, rows, and their conversion to items."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from dreamr.evaluation.tasks.item import BadData, Item, Items
from dreamr.evaluation.tasks.public.lines import Lines
from dreamr.evaluation.tasks.public.origin import Origin, find_files
from dreamr.evaluation.tasks.public.rows import Needed, Row, Rows


@dataclass(frozen=True, slots=True)
class Entry:
    """The place of an item in the files, known before its row is read.

    Attributes:
        index: `Item.index`.
        row: Number of the row, counted over all files.
        unit: `Item.unit`.
        turn: Number of places by which the choices are rotated.
        where: Name of the row, for errors.
    """

    index: int
    row: int
    unit: str
    turn: int = 0
    where: str = ""


def each_row(rows: Rows | Lines) -> list[Entry]:
    """Return one entry per row, each a problem of its own."""
    return [Entry(row, row, str(row), where=rows.name_of(row)) for row in range(len(rows))]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A published benchmark.

    Attributes:
        name: Name of the task.
        origin: Where its files are.
        columns: Columns that its files must have.
        item: Creates an item from a row.
        plan: Returns the entries of all items.
        reader: Opens the files.
    """

    name: str
    origin: Origin
    columns: Needed
    item: Callable[[Row, Entry], Item]
    plan: Callable[[Any], list[Entry]] = each_row
    reader: Callable[[Sequence[Path], Needed], Rows | Lines] = Rows

    def load(
        self,
        *,
        limit: int | None = None,
        seed: int = 0,
        source: str | os.PathLike[str] | None = None,
    ) -> Items:
        """Return the items in the order of the files; each is read on access.

        Args:
            limit: Number of units to draw, or None for all. A unit comes with all its items. A
                larger number draws the same units and others.
            seed: Seed of the draw.
            source: A folder or a file; None fetches the files from the hub.

        Raises:
            NoData: If the files are missing.
            BadData: If a file cannot be read or is not valid for the task.
            Unsupported: If a library is not installed.
        """
        rows = self.reader(find_files(self.origin, source), self.columns)
        chosen = _draw(self.plan(rows), limit, seed)
        entries = {entry.index: entry for entry in chosen}
        if len(entries) != len(chosen):
            raise BadData(
                f"{self.name}: two rows have the same index: name a single file of the benchmark"
            )
        return Items(list(entries), partial(self._make, rows, entries))

    def _make(self, rows: Rows | Lines, entries: dict[int, Entry], index: int) -> Item:
        entry = entries[index]
        row = rows[entry.row]
        try:
            return self.item(row, entry)
        except BadData as error:
            raise BadData(f"{rows.path_of(entry.row)}: {error}") from error


def _draw(entries: Sequence[Entry], limit: int | None, seed: int) -> list[Entry]:
    units = list(dict.fromkeys(entry.unit for entry in entries))
    if limit is None or limit >= len(units):
        return list(entries)
    # The order of all units, since samples of different sizes need not contain each other.
    drawn = set(Random(seed).sample(units, len(units))[:limit])
    return [entry for entry in entries if entry.unit in drawn]
