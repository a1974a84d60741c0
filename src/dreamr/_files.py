"""Files that are replaced in one go."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


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
