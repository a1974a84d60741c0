"""Standard input, output and error of the process, whatever state they are in.

Standard output carries the answer: if it cannot be written, the command says so and ends with a
status of its own. Standard error carries everything else, and never ends a command.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import select
import sys
from typing import Any, TextIO

from dreamr._messages import reason
from dreamr.errors import DreamrError

LOST, READER_GONE = 74, 141  # EX_IOERR of sysexits.h; 128 + SIGPIPE, as the shell reports it
_MOST_COLUMNS, _LEAST_COLUMNS = 1000, 20


def stdin_bytes(most: int) -> bytes:
    """Read standard input to its end.

    Args:
        most: Largest number of bytes; one more is read at most, so that the caller can refuse it.

    Raises:
        BadInput: If standard input is closed or a terminal.
    """
    stdin: Any = sys.stdin
    try:
        if stdin.isatty():
            raise BadInput("standard input is a terminal: redirect a file into it, as in < a.png")
        return bytes(stdin.buffer.read(most + 1))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read standard input: {reason(error)}") from error


class BadInput(DreamrError):
    """Standard input cannot be read."""


class LostOutput(DreamrError):
    """Standard output cannot be written.

    Raised by the command line if standard output is closed or its disk is full. Files that the
    command was asked for are still written. The exit status is 74.

    Attributes:
        reason: What the operating system reports.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReaderGone(Exception):
    """The process that read standard output has closed it, as `head` does."""


def prepare() -> None:
    """Make the standard streams of this process usable."""
    # A closed descriptor would be given to the next file that is opened, which would then receive
    # what libraries write to standard output or error.
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _reopen(number, flags)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)))
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr, "backslashreplace", True)
    for variable in ("COLUMNS", "LINES"):
        _bound(variable)


def text_of(argument: str) -> str:
    """Return an argument of the command line as text, if the locale could not decode it.

    Terminals send UTF-8, whatever the locale says.
    """
    try:
        return os.fsencode(argument).decode() if not _is_text(argument) else argument
    except UnicodeError:
        return argument


def _is_text(argument: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in argument)


class _Output(io.FileIO):
    """Standard output. Its first failure is raised; after that there is no use in trying."""

    _failed = False

    def write(self, data: Any) -> int:
        if self._failed:
            return len(data)
        try:
            return _written(self, data)
        except BrokenPipeError as error:
            self._failed = True
            raise ReaderGone from error
        except OSError as error:
            self._failed = True
            why = reason(error)
            raise LostOutput(f"cannot write to standard output: {why}", why) from error


class _Messages(io.FileIO):
    """Standard error. What cannot be written is dropped: there is no place left to say so."""

    def write(self, data: Any) -> int:
        try:
            return _written(self, data)
        except OSError:
            return len(data)


def _written(file: io.FileIO, data: Any) -> int:
    """Write, and wait where another program has made the terminal or pipe non-blocking."""
    while (written := io.FileIO.write(file, data)) is None:
        select.select([], [file], [])
    return written


def _reopen(number: int, flags: int) -> None:
    """Open a closed descriptor on the null device; with the wrong mode, its use is an error."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, flags)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _text(
    raw: io.FileIO, before: TextIO | None, errors: str = "backslashreplace", by_line: bool = False
) -> TextIO:
    """Return a text stream in the encoding of the one before it.

    ASCII becomes UTF-8, which contains it. What the encoding lacks is escaped, never lost.
    """
    encoding = getattr(before, "encoding", None) or "utf-8"
    if codecs.lookup(encoding).name == "ascii" and "PYTHONIOENCODING" not in os.environ:
        encoding = "utf-8"
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=by_line or raw.isatty())


def _bound(variable: str) -> None:
    """Keep a width or height of the terminal that nothing can be shown in from being used."""
    given = os.environ.get(variable)
    if given is None:
        return
    if not re.fullmatch("[0-9]{1,9}", given) or int(given) == 0:
        del os.environ[variable]
    else:
        os.environ[variable] = str(min(max(int(given), _LEAST_COLUMNS), _MOST_COLUMNS))
