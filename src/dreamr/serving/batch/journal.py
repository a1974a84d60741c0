"""The files of answers and errors, to which a batch is appended and from which it continues."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dreamr._files import open_binary
from dreamr._messages import short_path
from dreamr._output_files import append_line, replace_file, writing
from dreamr.serving.batch.errors import BatchError
from dreamr.serving.batch.options import BatchOptions

_ADVICE = "what is answered is kept; run the same command again to go on"
_ID = "batch_req_"


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
            BatchError: If a file holds anything but answers, or another process writes it.
            Unwritable: If a file cannot be written.
        """
        with ExitStack() as stack, writing(options.out, _ADVICE):
            self._answers = stack.enter_context(FileIO(options.out, "a+"))
            _lock(self._answers, options.out)
            self.answered = dict(_recovered(self._answers, options.out))
            if options.retry and options.errors.exists():
                replace_file(options.errors, b"")  # their requests count as not sent
            self._errors = stack.enter_context(FileIO(options.errors, "a+"))
            self.failed = {name for name, _ in _recovered(self._errors, options.errors)}
            self.failed -= self.answered.keys()
            self._open = stack.pop_all()
        self._path, self._errors_path = options.out, options.errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_empty = self._errors.seek(0, 2) == 0
        self._open.close()
        if is_empty:
            self._errors_path.unlink(missing_ok=True)

    def answer(self, custom_id: str, digest: str, status: int, body: Any) -> None:
        """Append an answer.

        Raises:
            Unwritable: If it cannot be written; the answers before are intact.
        """
        response = {"status_code": status, "request_id": body.get("id"), "body": body}
        self._append(self._answers, self._path, custom_id, digest, response, None)
        self.answered[custom_id] = digest

    def error(self, custom_id: str, digest: str, code: str, message: str, status: int = 0) -> None:
        """Append an error.

        Raises:
            Unwritable: If it cannot be written.
        """
        response = {"status_code": status} if status else None
        cause = {"code": code, "message": message}
        self._append(self._errors, self._errors_path, custom_id, digest, response, cause)
        self.failed.add(custom_id)

    def _append(
        self, file: FileIO, path: Path, custom_id: str, digest: str, response: Any, error: Any
    ) -> None:
        line = {
            "id": _ID + digest,
            "custom_id": custom_id,
            "response": response,
            "error": error,
        }
        content = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with writing(path, _ADVICE):
            append_line(file, content, sync=False)


def _lock(file: FileIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BatchError(
            f"{short_path(path)} is being written by another batch: wait for it, or name another "
            "file"
        ) from error
    except OSError:  # the file system has no locks
        return


def _recovered(file: FileIO, path: Path) -> Iterator[tuple[str, str]]:
    """Yield id and digest of each line, and remove an incomplete last one."""
    end = 0
    with open_binary(path) as content:
        for number, line in enumerate(content, 1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            yield _read(line, number, path)
    if end < file.seek(0, 2):
        file.truncate(end)


def _read(line: bytes, number: int, path: Path) -> tuple[str, str]:
    try:
        match json.loads(line):
            case {"id": str(key), "custom_id": str(name), "response": _, "error": _}:
                return name, key.removeprefix(_ID)
    except (ValueError, RecursionError):
        pass
    raise BatchError(
        f"{short_path(path)}, line {number}, is not an answer of a batch: name another file"
    )
