"""Rows of files in the format JSON Lines, read one line at a time."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from dreamr._files import open_binary
from dreamr._messages import reason
from dreamr.evaluation.tasks.item import BadData
from dreamr.evaluation.tasks.public.rows import Needed, Row, check_columns

_MOST_BYTES = 16 * 2**20  # of a line


class Lines:
    """All lines of several files, in order, each a JSON object. Blank lines do not count."""

    def __init__(self, files: Sequence[Path], needed: Needed) -> None:
        """Index the lines without parsing them.

        Args:
            files: At least one file.
            needed: Keys that all lines must have.

        Raises:
            BadData: If a file cannot be read, or a line is too long.
        """
        self._needed = needed
        self._files = list(files)
        self._lines = [_index(path) for path in self._files]
        self._starts = [0, *accumulate(map(len, self._lines))]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Row:
        """Return the values of one line.

        Raises:
            BadData: If it is not a JSON object, lacks a key or cannot be read.
            IndexError: If there is no such line.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        path = self.path_of(index)
        number, offset = self._place(index)
        where = f"{path}, line {number}"
        try:
            with open_binary(path) as opened:
                opened.seek(offset)
                row = json.loads(opened.readline(_MOST_BYTES))
        except OSError as error:
            raise BadData(f"{where} cannot be read: {reason(error)}") from error
        except (ValueError, RecursionError) as error:
            raise BadData(f"{where} is not valid JSON: each problem is one line") from error
        if not isinstance(row, dict):
            raise BadData(f"{where} is not a JSON object: write {{...}} with the problem's values")
        check_columns(where, row, self._needed)
        return row

    def name_of(self, index: int) -> str:
        """Return the name of a line, for errors."""
        return f"line {self._place(index)[0]}"

    def path_of(self, index: int) -> Path:
        """Return the file of a line."""
        return self._files[bisect_right(self._starts, index) - 1]

    def _place(self, index: int) -> tuple[int, int]:
        file = bisect_right(self._starts, index) - 1
        return self._lines[file][index - self._starts[file]]


def _index(path: Path) -> list[tuple[int, int]]:
    """Return the number, from 1, and the offset of each line that is not blank."""
    found, offset = [], 0
    try:
        with open_binary(path) as file:
            for number, line in enumerate(iter(lambda: file.readline(_MOST_BYTES), b""), 1):
                if len(line) == _MOST_BYTES and not line.endswith(b"\n"):
                    raise BadData(
                        f"{path}, line {number} has more than {_MOST_BYTES:,} bytes: keep "
                        "attachments in files and name these"
                    )
                if line.strip():
                    found.append((number, offset))
                offset += len(line)
    except OSError as error:
        raise BadData(f"{path} cannot be read: {reason(error)}") from error
    return found
