"""A published set: its files, its rows, and how a row becomes an item."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from dreamr.evaluation.tasks.item import BadData, Item, Items
from dreamr.evaluation.tasks.public.origin import Origin, find_files
from dreamr.evaluation.tasks.public.rows import Row, Rows


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an item comes from, known before its row is read.

    index, unit: those of the item. row: its number in the files. turn: by how many places the
    loader turns the choices.
    """

    index: int
    row: int
    unit: str
    turn: int = 0


def each_row(rows: Rows) -> list[Entry]:
    """Every row is a problem of its own."""
    return [Entry(row, row, str(row)) for row in range(len(rows))]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A published set.

    columns: what its files must have. item: makes an item of a row. plan: which items there are.
    """

    name: str
    origin: Origin
    columns: tuple[str, ...]
    item: Callable[[Row, Entry], Item]
    plan: Callable[[Rows], list[Entry]] = each_row

    def load(
        self,
        *,
        limit: int | None = None,
        seed: int = 0,
        source: str | os.PathLike[str] | None = None,
    ) -> Items:
        """The items, in the files' order; each is read when it is asked for.

        Args:
            limit: how many units to draw, all if None; a unit comes with all its items.
            seed: of the draw.
            source: a folder or a parquet file; None fetches the set from the hub.

        Raises:
            NoData, BadData: the files.
            Unsupported: a library is missing.
        """
        rows = Rows(find_files(self.origin, source), self.columns)
        chosen = _draw(self.plan(rows), limit, seed)
        entries = {entry.index: entry for entry in chosen}
        if len(entries) != len(chosen):
            raise BadData(f"{self.name}: two rows have the same index: name one file of the set")
        return Items(list(entries), partial(self._make, rows, entries))

    def _make(self, rows: Rows, entries: dict[int, Entry], index: int) -> Item:
        entry = entries[index]
        return self.item(rows[entry.row], entry)


def _draw(entries: Sequence[Entry], limit: int | None, seed: int) -> list[Entry]:
    units = list(dict.fromkeys(entry.unit for entry in entries))
    if limit is None or limit >= len(units):
        return list(entries)
    drawn = set(Random(seed).sample(units, limit))
    return [entry for entry in entries if entry.unit in drawn]
