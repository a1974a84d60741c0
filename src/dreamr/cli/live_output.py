"""Output file of lines that are written during a run."""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._output_files import OutputFile, append_line, open_output, unwritable, writing


class LiveOutput:
    """A file of lines that are written as they come.

    A new file can be read while it grows. One that is there is replaced at the end, and stays as
    it was if a line cannot be written.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            Unwritable: If it cannot be written.
        """
        self.path = path
        self._is_written = False
        self._target: OutputFile | None = None
        try:
            self._is_new = not os.path.lexists(path)
            if self._is_new:
                self._file = FileIO(path, "x")
            else:
                self._target = open_output(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte
            raise unwritable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, line: str) -> None:
        """Write a line.

        Raises:
            Unwritable: If that fails, for example because the disk is full.
        """
        content = line.encode("utf-8", "replace")
        try:
            if self._target is None:
                append_line(self._file, content, sync=False)
            else:
                self._target.write(content)
        except OSError as error:
            if self._target is not None:
                self._target.discard()
            raise unwritable(self.path, error) from error
        self._is_written = True

    def close(self) -> None:
        """Put the lines in place; a file to which nothing was written stays as it was.

        Raises:
            Unwritable: If that fails.
        """
        if self._target is not None:
            with writing(self.path):
                self._target.close() if self._is_written else self._target.discard()
            return
        self._file.close()
        if self._is_new and not self._is_written:
            with suppress(OSError):  # someone else may have removed it
                self.path.unlink(missing_ok=True)
