"""Files that are replaced in one go, and what is said of those that cannot be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreamr.errors import Unwritable


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole: until then the name stands for what it held before.

    Raises:
        OSError: it cannot be written; nothing is left of the attempt.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        with suppress(OSError):  # cleaning up must not hide what went wrong before it
            part.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception, advice: str = "name another file") -> Unwritable:
    """The one way to say that a file or a folder cannot be written.

    advice: what to do about it.
    """
    reason = getattr(error, "strerror", None) or str(error)
    return Unwritable(f"cannot write {path}: {reason}; {advice}")


@contextmanager
def writing(path: Path, advice: str = "name another file") -> Iterator[None]:
    """A block that writes a file or a folder.

    Raises:
        Unwritable: the operating system refuses; see `unwritable`.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, advice) from error
