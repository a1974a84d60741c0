"""Read files within bounds, with errors of one line that name the file.

A path can lead to a file that is not regular by nature: a pipe, a device, a kernel log in /proc, or
a file on a server that does not answer. Everything that users name is read here, so that none of
them can block the process.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from dreamr._messages import reason
from dreamr.errors import DreamrError

MOST_BYTES = 64 * 1024 * 1024  # of a file of settings, keys or results
_SECONDS = 20.0  # for one file
_CHUNK = 1024 * 1024

Found = TypeVar("Found")


def read_bytes(path: Path, *, most: int = MOST_BYTES, pipes: bool = False) -> bytes:
    """Read a file that must end, within a bound of time and size.

    Args:
        path: The file.
        most: Largest number of bytes.
        pipes: Whether a pipe, such as a process substitution of the shell, is read too.

    Raises:
        OSError: If the file cannot be read, is not a regular file, is too large, or gives no data
            in time. Its `strerror` is the reason in one line.
    """
    deadline = time.monotonic() + _SECONDS
    return _bounded(lambda: _read(path, most, pipes, deadline))


def open_binary(path: Path) -> BufferedReader:
    """Open a regular file of any size for reading, within a bound of time.

    Raises:
        OSError: If the file cannot be opened or is not a regular file; see `read_bytes`.
    """
    return os.fdopen(_bounded(lambda: _open(path, pipes=False)), "rb")


def read_text(
    path: Path, kind: str, error: type[DreamrError], *, advice: str = "", pipes: bool = False
) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        kind: What the file is, for messages, such as "profile".
        error: Class of the errors to raise.
        advice: What the user can do; the end of the message.
        pipes: Whether a pipe, such as a process substitution of the shell, is read too.

    Raises:
        DreamrError: An instance of `error`, if the file cannot be read or is not UTF-8 text.
    """
    end = f"; {advice}" if advice else ""
    try:
        content = read_bytes(path, pipes=pipes)
        return content.decode("utf-8-sig")
    except OSError as cause:
        raise error(f"cannot read {kind} {path}: {reason(cause)}{end}") from cause
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise error(f"{kind} {path}, line {line}: not UTF-8 text{end}") from cause


def read_json(path: Path, kind: str, error: type[DreamrError]) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: The file.
        kind: What the file is, for messages, such as "profile".
        error: Class of the errors to raise.

    Raises:
        DreamrError: An instance of `error`, if the file cannot be read or does not hold a JSON
            object. The message is one line that names the file and, for invalid content, the line
            and column.
    """
    text = read_text(path, kind, error, pipes=True)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as cause:
        what = f"{cause.msg[:1].lower()}{cause.msg[1:]}"
        raise error(
            f"{kind} {path}, line {cause.lineno}, column {cause.colno}: not valid JSON: {what}"
        ) from cause
    except (ValueError, RecursionError) as cause:  # a number with over 4300 digits, deep nesting
        raise error(f"{kind} {path}: a number or the nesting is too long") from cause
    if not isinstance(found, dict):
        raise error(f"{kind} {path}: must be a JSON object, not {shown(found)}")
    return found


def shown(value: object, most: int = 40) -> str:
    """Return how messages show a value of a JSON file, with at most `most` characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _bounded(work: Callable[[], Found]) -> Found:
    """Call a function that may block for good, in a thread that is abandoned when time is up."""
    answer: Future[Found] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="dreamr file", daemon=True).start()
    try:
        return answer.result(_SECONDS)
    except TimeoutError as error:
        raise OSError(errno.ETIMEDOUT, f"no end of the data within {_SECONDS:g} s") from error


def _read(path: Path, most: int, pipes: bool, deadline: float) -> bytes:
    descriptor = _open(path, pipes)
    try:
        found, size = bytearray(), os.fstat(descriptor).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes, more than {most:,}")
        while part := os.read(descriptor, min(_CHUNK, most + 1 - len(found))):
            found += part
            if len(found) > most:
                raise OSError(errno.EFBIG, f"more than {most:,} bytes")
            if time.monotonic() > deadline:
                raise OSError(errno.ETIMEDOUT, f"no end of the data within {_SECONDS:g} s")
        return bytes(found)
    except BlockingIOError as error:  # /proc/kmsg claims to be regular, and waits for messages
        raise OSError(errno.EINVAL, "not a regular file") from error
    finally:
        os.close(descriptor)


def _open(path: Path, pipes: bool) -> int:
    """Return a file descriptor that does not block."""
    try:
        _check_kind(os.stat(path).st_mode, pipes)  # opening a device can have effects
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except ValueError as error:  # a NUL byte, or a character that file names cannot have
        what = "embedded null byte" if "null" in str(error) else "not a name of a file"
        raise OSError(errno.EINVAL, what) from error
    try:
        mode = os.fstat(descriptor).st_mode
        _check_kind(mode, pipes)
        if stat.S_ISFIFO(mode):  # its writer may need time
            os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(mode: int, pipes: bool) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode))):
        raise OSError(errno.EINVAL, "not a regular file")
