"""Files that a run will write: found unwritable before the run, and never half there after it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._files import unwritable, writing


class Output:
    """A file that is opened now and written later; what it held stays until then.

    With `keep` it stays for good, and what is written comes behind it. A file that was made for
    nothing, because the run never wrote to it, is removed again.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        """Open the file, and make it where there is none.

        Raises:
            Unwritable: it cannot be opened for writing.
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
        """Append to what this run wrote, and hand it to the system at once.

        Raises:
            Unwritable: no room, for example.
        """
        with writing(self.path):
            if not (self._is_written or self._keep) and self._file.seekable():
                self._file.truncate(0)
            self._is_written = True
            self._file.write(text)
            self._file.flush()
