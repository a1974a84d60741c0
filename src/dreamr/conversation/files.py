"""Attachments as files on disk: bounded reads, with one error class for each way to fail."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from dreamr._files import open_binary, read_bytes
from dreamr._messages import reason, short_path
from dreamr.conversation.errors import (
    AttachmentMissing,
    AttachmentNotAFile,
    AttachmentTooLarge,
    AttachmentUnreadable,
)

_ONE_FILE = "pass the path of one file"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def read_file(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes.

    Raises:
        AttachmentMissing: If the file does not exist.
        AttachmentNotAFile: If the path is not a regular file.
        AttachmentUnreadable: If the operating system denies access.
        AttachmentTooLarge: If the file is larger.
    """
    with _explained(path):
        return read_bytes(path, most=most)


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        AttachmentMissing: If the file does not exist.
        AttachmentNotAFile: If the path is not a regular file.
        AttachmentUnreadable: If the operating system denies access.
    """
    with _explained(path):
        return open_binary(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    shown = short_path(path)
    if str(path)[:5].lower() == "data:":
        raise AttachmentMissing(f"{shown} is not a path: save the data as a file")
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if found := _ADDRESS.match(shown):  # paths join its slashes
            shown = f"{found[1]}://{shown[found.end() :]}"
        hint = "download it first" if found else "check the path"
        raise AttachmentMissing(f"there is no file {shown}: {hint}") from error
    except OSError as error:
        match error.errno:
            case errno.EISDIR:
                raise AttachmentNotAFile(f"{shown} is a directory: {_ONE_FILE}") from error
            case errno.EFBIG:
                raise AttachmentTooLarge(
                    f"{shown} has {reason(error)}: save a smaller copy"
                ) from error
            case errno.EINVAL if "regular" in reason(error):
                raise AttachmentNotAFile(f"{shown} is not a regular file: {_ONE_FILE}") from error
            case errno.EINVAL | errno.ENAMETOOLONG:
                raise AttachmentMissing(f"there is no file {shown}: check the path") from error
        raise AttachmentUnreadable(
            f"cannot read {shown} ({reason(error)}): check the file's permissions"
        ) from error
