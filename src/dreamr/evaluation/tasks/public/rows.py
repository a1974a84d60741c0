"""The rows of parquet files, read one row group at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from dreamr.errors import Unsupported
from dreamr.evaluation.tasks.item import BadData

Row = dict[str, Any]


class Rows:
    """All rows of some files, in order, as plain values.

    One row group is held at a time, with its pictures still encoded: rows are best read in
    order. A set from the Hugging Face hub has some hundred rows in a group.
    """

    def __init__(self, files: Sequence[Path], needed: Collection[str]) -> None:
        """Read the files' footers.

        Args:
            files: at least one.
            needed: columns that all of them must have.

        Raises:
            BadData: a file is no parquet file, or lacks a needed column.
            Unsupported: pyarrow is not installed.
        """
        self._parquet = _pyarrow_parquet()
        self._groups: list[tuple[Path, int]] = []
        sizes: list[int] = []
        for path in files:
            footer = self._open(path)
            _check_columns(path, footer.schema_arrow.names, needed)
            for group in range(footer.num_row_groups):
                self._groups.append((path, group))
                sizes.append(footer.metadata.row_group(group).num_rows)
        self._starts = [0, *accumulate(sizes)]
        self._held: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Row:
        """One row.

        Raises:
            BadData: the file cannot be read any more.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect_right(self._starts, index) - 1
        row: Row = self._read(group).slice(index - self._starts[group], 1).to_pylist()[0]
        return row

    def columns(self, *names: str) -> list[Row]:
        """Some columns of all rows; meant for small ones."""
        return [
            row
            for path in dict.fromkeys(path for path, _ in self._groups)
            for row in self._open(path).read(columns=list(names)).to_pylist()
        ]

    def _read(self, group: int) -> Any:
        held = self._held
        if held is None or held[0] != group:
            self._held = held = None  # freed before the next is read
            path, number = self._groups[group]
            self._held = held = (group, self._open(path).read_row_group(number))
        return held[1]

    def _open(self, path: Path) -> Any:
        try:
            return self._parquet.ParquetFile(path)
        except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
            reason = str(error).splitlines()[0]
            raise BadData(f"{path} cannot be read as parquet: {reason}") from error


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise Unsupported(
            "published tasks need pyarrow, which is not installed: pip install 'dreamr[bench]'"
        ) from error
    return pyarrow.parquet


def _check_columns(path: Path, names: Iterable[str], needed: Collection[str]) -> None:
    missing = sorted(set(needed) - set(names))
    if missing:
        raise BadData(
            f"{path} has no column {', '.join(missing)}: it is not of this task, which needs "
            f"{', '.join(needed)}"
        )
