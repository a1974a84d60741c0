"""Read and write files, with errors of one line that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dreamr.errors import DreamrError, Unwritable


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
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as cause:  # ValueError: a NUL byte in the path
        raise error(f"cannot read {kind} {path}: {_reason(cause)}") from cause
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise error(f"{kind} {path}, line {line}: not UTF-8 text") from cause
    except json.JSONDecodeError as cause:
        reason = f"{cause.msg[:1].lower()}{cause.msg[1:]}"
        raise error(
            f"{kind} {path}, line {cause.lineno}, column {cause.colno}: not valid JSON: {reason}"
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


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: until it is complete, the old content stays in place.

    Raises:
        OSError: If it cannot be written; the temporary file is removed.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        with suppress(OSError):  # cleaning up must not hide the original error
            part.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception, advice: str = "choose another file") -> Unwritable:
    """Return the error about a file or folder that cannot be written.

    Args:
        path: The file or folder.
        error: What the operating system reports.
        advice: What the user can do about it.
    """
    return Unwritable(f"cannot write {path}: {_reason(error)}; {advice}")


@contextmanager
def writing(path: Path, advice: str = "choose another file") -> Iterator[None]:
    """Guard a block that writes a file or a folder.

    Raises:
        Unwritable: If the operating system refuses; see `unwritable`.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, advice) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
