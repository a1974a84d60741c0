"""Locks of folders and files that one process at a time may write."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._output_files import writing
from dreamr.errors import DreamrError

LOCK = ".dreamr.lock"
# Some network file systems have no locks. Work there is possible, and as safe as without this.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def lock_file(file: FileIO, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; return whether no other process has locked it.

    Where the file system has no locks, as for pipes and devices, every process gets the file.

    Args:
        file: The open file.
        shared: Whether others may have such a lock at the same time.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class FolderLock:
    """Sole use of a folder, which the system takes back if the process dies.

    The lock is an advisory lock of the system on a file in the folder, which holds the process id.
    """

    def __init__(self, folder: Path, error: type[DreamrError]) -> None:
        """Create the folder if needed, and lock it.

        Args:
            folder: The folder.
            error: Class of the error to raise if it is in use.

        Raises:
            DreamrError: An instance of `error`, if another process uses the folder, or another
                part of this one.
            Unwritable: If the folder cannot be written.
        """
        self._folder, self._owner = folder, os.getpid()
        with writing(folder, "name another folder"):
            self._is_new = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._acquire(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the folder free; remove it if it is new and empty."""
        if self._descriptor < 0 or self._owner != os.getpid():  # a fork does not own the lock
            return
        with suppress(OSError):  # the folder may be gone, or read-only by now
            (self._folder / LOCK).unlink()
        os.close(self._descriptor)
        self._descriptor = -1
        if self._is_new:
            with suppress(OSError):  # it is not empty
                self._folder.rmdir()

    def _acquire(self, error: type[DreamrError]) -> int:
        path = self._folder / LOCK
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise error(
                    f"{self._folder} is in use by process {owner or 'unknown'}: wait until it "
                    "ends, or name another folder"
                ) from cause
            except OSError as cause:
                if cause.errno not in _NO_LOCKS:
                    os.close(descriptor)
                    raise
            if is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{self._owner}\n".encode(), 0)
                return descriptor
            os.close(descriptor)  # its owner removed the file before we had the lock


def is_at(file: FileIO | int, path: Path) -> bool:
    """Return whether an open file, or its descriptor, is still the one at a path."""
    try:
        descriptor = file if isinstance(file, int) else file.fileno()
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
