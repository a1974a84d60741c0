"""Rows of parquet files, read one row group at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from dreamr._messages import first_line
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks.item import BadData

Row = dict[str, Any]
Needed = Collection[str | tuple[str, ...]]  # names of columns; a tuple: one of them


class Rows:
    """All rows of several files, in order, as Python values.

    One row group is held at a time, with its images still encoded, so rows are best read in order.
    Datasets on the Hugging Face hub have about a hundred rows per group.
    """

    def __init__(self, files: Sequence[Path], needed: Needed) -> None:
        """Read the footers of the files.

        Args:
            files: At least one file.
            needed: Columns that all files must have.

        Raises:
            BadData: If a file is not a parquet file or lacks a column.
            Unsupported: If pyarrow is not installed.
        """
        self._pyarrow = _import_pyarrow()
        self._groups: list[tuple[Path, int]] = []
        sizes: list[int] = []
        for path in files:
            footer = self._open(path)
            check_columns(str(path), footer.schema_arrow.names, needed)
            for group in range(footer.num_row_groups):
                self._groups.append((path, group))
                sizes.append(footer.metadata.row_group(group).num_rows)
        self._starts = [0, *accumulate(sizes)]
        self._held: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Row:
        """Return one row.

        Raises:
            BadData: If the file cannot be read.
            IndexError: If there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect_right(self._starts, index) - 1
        with self._errors_of(self._groups[group][0]):
            row: Row = self._read(group).slice(index - self._starts[group], 1).to_pylist()[0]
        return row

    def name_of(self, index: int) -> str:
        """Return the name of a row, for errors."""
        return f"row {index}"

    def path_of(self, index: int) -> Path:
        """Return the file of a row."""
        return self._groups[bisect_right(self._starts, index) - 1][0]

    def columns(self, *names: str) -> list[Row]:
        """Return some columns of all rows; meant for small columns.

        Raises:
            BadData: If a file cannot be read.
        """
        rows: list[Row] = []
        for path in dict.fromkeys(path for path, _ in self._groups):
            with self._errors_of(path):
                rows += self._open(path).read(columns=list(names)).to_pylist()
        return rows

    def _read(self, group: int) -> Any:
        held = self._held
        if held is None or held[0] != group:
            self._held = held = None  # free it before the next one is read
            path, number = self._groups[group]
            self._held = held = (group, self._open(path).read_row_group(number))
        return held[1]

    def _open(self, path: Path) -> Any:
        with self._errors_of(path):
            return self._pyarrow.parquet.ParquetFile(path)

    @contextmanager
    def _errors_of(self, path: Path) -> Iterator[None]:
        """Report errors of pyarrow as `BadData` in one line that names the file."""
        try:
            yield
        except (OSError, ValueError, self._pyarrow.ArrowException) as error:
            raise BadData(f"{path} cannot be read as parquet: {first_line(error)}") from error


def _import_pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise Unsupported("parquet files need pyarrow: pip install 'dreamr[bench]'") from error
    return pyarrow


def check_columns(where: str, names: Collection[str], needed: Needed) -> None:
    """Check that all needed columns are there.

    Args:
        where: Name of the file or line, for errors.
        names: Names of the columns that are there.
        needed: The needed ones.

    Raises:
        BadData: If one is missing.
    """
    either = [(one,) if isinstance(one, str) else one for one in needed]
    missing = sorted(" or ".join(one) for one in either if not set(one) & set(names))
    if missing:
        raise BadData(
            f"{where} has no column {', '.join(missing)}: this task needs the columns "
            f"{', '.join(map(' or '.join, either))}"
        )
