"""Output files that are checked before a run and written after it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._files import unwritable, writing


class Output:
    """A file that is opened now and written later.

    Its previous content stays until the first write, and with `keep` for good: new text is
    appended. A new file to which nothing was written is removed.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        """Open the file; create it if needed.

        Raises:
            Unwritable: If it cannot be opened for writing.
        """
        self.path = path
        self._is_new = not path.exists()
        self._is_written = False
        self._keep = keep
        try:
            self._file = path.open("a", encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            raise unwritable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with writing(self.path):
            self._file.close()
        if self._is_new and not self._is_written:
            self.path.unlink(missing_ok=True)

    def write(self, text: str) -> None:
        """Append to what this run wrote, and flush.

        Raises:
            Unwritable: If writing fails, for example because the disk is full.
        """
        with writing(self.path):
            if not (self._is_written or self._keep) and self._file.seekable():
                self._file.truncate(0)
            self._is_written = True
            self._file.write(text)
            self._file.flush()
