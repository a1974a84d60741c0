"""The files of answers and errors, to which a batch is appended and from which it continues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from io import SEEK_END, FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._files import open_binary
from dreamr._locks import lock_file
from dreamr._messages import short_path
from dreamr._output_files import append_line, writing
from dreamr.serving.batch.errors import BatchError, FileInUse
from dreamr.serving.batch.lines import check_cut_line, read_line
from dreamr.serving.batch.options import BatchOptions

_ADVICE = "what is answered is kept; run the same command again to go on"


class Journal:
    """The answers and errors of a batch, each on one line of its file.

    An incomplete last line, left by a killed process, is removed. The file of answers is locked
    while it is open.

    Attributes:
        answered: Digests of the answered requests, by id.
        failed: Ids of the requests that ended in an error.
    """

    def __init__(self, options: BatchOptions) -> None:
        """Open the files, or create them.

        Args:
            options: Names of the files, and whether errors are tried again.

        Raises:
            BatchError: If a file holds anything but answers.
            FileInUse: If another process writes it.
            Unwritable: If a file cannot be written.
        """
        with ExitStack() as stack, writing(options.out, _ADVICE):
            self._answers = stack.enter_context(FileIO(options.out, "a+"))
            if not lock_file(self._answers):
                raise FileInUse(
                    f"{short_path(options.out)} is being written by another batch: wait for it, "
                    "or name another file"
                )
            self.answered = dict(_recovered(self._answers, options.out))
            self._errors = stack.enter_context(FileIO(options.errors, "a+"))
            self.failed = {name for name, _ in _recovered(self._errors, options.errors)}
            self.failed -= self.answered.keys()
            self._paths = {self._answers: options.out, self._errors: options.errors}
            if options.retry:
                self.forget_errors()  # their requests count as not sent
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._errors.seek(0, SEEK_END) == 0:  # while the lock keeps other processes out
            self._paths[self._errors].unlink(missing_ok=True)
        self._open.close()

    async def add_answer(self, custom_id: str, digest: str, line: bytes) -> None:
        """Append the line of an answer.

        Raises:
            Unwritable: If it cannot be written; the answers before are intact.
        """
        self._append(self._answers, line)
        self.answered[custom_id] = digest

    async def add_error(self, custom_id: str, line: bytes) -> None:
        """Append the line of an error.

        Raises:
            Unwritable: If it cannot be written.
        """
        self._append(self._errors, line)
        self.failed.add(custom_id)

    def forget_errors(self) -> None:
        """Empty the file of errors: its requests are sent again.

        Raises:
            Unwritable: If that fails.
        """
        with writing(self._paths[self._errors], _ADVICE):
            self._errors.truncate(0)
        self.failed.clear()

    def _append(self, file: FileIO, line: bytes) -> None:
        with writing(self._paths[file], _ADVICE):
            append_line(file, line, sync=False)


def _recovered(file: FileIO, path: Path) -> Iterator[tuple[str, str]]:
    """Yield id and digest of each line, and remove an incomplete last one."""
    end = 0
    with open_binary(path) as content:
        for number, line in enumerate(content, 1):
            try:
                if not line.endswith(b"\n"):
                    check_cut_line(line)
                    break
                end += len(line)
                yield read_line(line)
            except ValueError as error:
                raise BatchError(
                    f"{short_path(path)}, line {number}, is not an answer of a batch: name "
                    "another file"
                ) from error
    if end < file.seek(0, SEEK_END):
        file.truncate(end)
