"""A file of records, open for more of them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._locks import lock_file
from dreamr._output_files import append_line, check_replaceable, open_direct, writing
from dreamr.training.errors import BadTraining
from dreamr.training.records import BEGINNING, Record, is_record, to_line

_BLOCK = 1024 * 1024  # bytes read at once in the search for the last line
_CLEAR = len(b'{"version": ')  # shorter text could be the beginning of anything
_PATIENCE = 10.0  # seconds to wait for another process that appends to the same file


class RecordFile:
    """Appends records to a file of records, each whole or not at all.

    Any other file is refused and left as it is. Several processes can append to one file.
    """

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        """Open the file, or create it; remove an incomplete last line.

        Args:
            path: The file.
            alone: Whether no other process may append while this one has the file open.

        Raises:
            BadTraining: If the file holds anything but records.
            Unwritable: If the file cannot be written.
        """
        self.path = path
        self._is_new = not os.path.lexists(path)
        self._is_written = False
        with ExitStack() as stack, writing(path):
            self._file = stack.enter_context(_open(path))
            if alone:
                stack.enter_context(_locked(self._file))
            # One process at a time appends, or this one as long as the file is open.
            self._turn: Callable[[], AbstractContextManager[None]] = (
                nullcontext if alone else partial(_locked, self._file)
            )
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._repair()
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()
        if self._is_new and not self._is_written:
            with suppress(OSError):  # someone else may have removed it
                self.path.unlink(missing_ok=True)

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            Unwritable: If it cannot be written, for example on a full disk. The file then ends as
                before.
        """
        line = to_line(record).encode("utf-8", "replace") + b"\n"
        with writing(self.path), self._turn():
            append_line(self._file, line)
        self._is_written = True

    def _repair(self) -> None:
        """Check that the file holds records, and complete or remove its last line."""
        with self._turn():
            size = os.fstat(self._file.fileno()).st_size
            end = _end_of_lines(self._file, size)
            last = _read(self._file, end, size)
            if not _holds_records(self._file, end, last):
                raise BadTraining(
                    f"{self.path} holds other text than records of runs: name another file"
                )
            if is_record(last):  # only its line feed is missing
                append_line(self._file, b"\n")
            elif last:
                os.truncate(self._file.fileno(), end)


def _open(path: Path) -> FileIO:
    try:
        special = open_direct(path)
        if special is not None:
            return special
        with suppress(FileNotFoundError):
            check_replaceable(path, path.stat())
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return FileIO(os.open(path, flags, 0o666), "r+")
    except ValueError as error:  # a NUL byte in the path
        raise OSError(errno.EINVAL, str(error)) from error


def _holds_records(file: FileIO, end: int, last: bytes) -> bool:
    """Check the first complete line, or the only one, and the beginning of the incomplete one."""
    if not end:
        return not last or is_record(last) or _is_cut(last)
    if not (last.startswith(BEGINNING) or BEGINNING.startswith(last) or is_record(last)):
        return False
    start, first = 0, b""
    while b"\n" not in first and start < end:
        first += _read(file, start, min(start + _BLOCK, end))
        start = len(first)
    return is_record(first[: first.index(b"\n")])


def _is_cut(line: bytes) -> bool:
    """Check for the beginning of a record, of which no complete one comes before."""
    return line.startswith(BEGINNING) or (len(line) >= _CLEAR and BEGINNING.startswith(line))


def _end_of_lines(file: FileIO, size: int) -> int:
    """Return the offset after the last line feed."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        found = _read(file, start, end).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read(file: FileIO, start: int, end: int) -> bytes:
    found = b""
    while start + len(found) < end:
        part = os.pread(file.fileno(), end - start - len(found), start + len(found))
        if not part:  # the file was cut meanwhile
            break
        found += part
    return found


@contextmanager
def _locked(file: FileIO) -> Iterator[None]:
    """Wait for sole use of an open file, where the file system has locks."""
    until = time.monotonic() + _PATIENCE
    while not lock_file(file):
        if time.monotonic() > until:
            raise OSError(errno.EBUSY, "another process is writing to it")
        time.sleep(0.02)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
