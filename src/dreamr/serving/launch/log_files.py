"""Read the logs of servers: the last lines, and what is added to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from dreamr._messages import one_line

_TAIL = 4096  # bytes that are searched for the last line
_CHUNK = 2**20
_MOST_LINE = 120  # characters of a line that is shown while a server starts


def last_line(path: Path) -> str:
    """Return the last line of a log that is not blank, shortened; empty if there is none."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        lines = [line for line in file.read(_TAIL).splitlines() if line.strip()]
        if lines:
            return one_line(lines[-1].decode("utf-8", "replace"), _MOST_LINE)
    return ""


def previous(path: Path) -> Path:
    """Return the log that was full when this one began."""
    return path.with_name(f"{path.name}.1")


def last_lines(path: Path, most: int) -> list[bytes]:
    """Return the last lines of a log, without the one before it unless this one is too short."""
    lines: list[bytes] = []
    for one in (path, previous(path)):
        if len(lines) < most:
            with suppress(OSError):
                lines = one.read_bytes().splitlines() + lines
    return lines[-most:] if most else []


class Follower:
    """Reads the lines that are added to a log, also when a new file takes its place.

    Args:
        path: The log, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BufferedReader | None = None
        self._rest = b""
        self._open(at_end=True)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are complete since the last call."""
        if self._file is None:
            self._open(at_end=False)
        while self._file is not None:
            while data := self._file.read(_CHUNK):
                *complete, self._rest = (self._rest + data).split(b"\n")
                yield from complete
            if not self._is_replaced():
                return
            self.close()
            self._open(at_end=False)

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, *, at_end: bool) -> None:
        with suppress(OSError):
            self._file = self._path.open("rb")
            if at_end:
                self._file.seek(0, os.SEEK_END)

    def _is_replaced(self) -> bool:
        assert self._file is not None
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            return False
