"""Write files so that neither a failure nor an interruption damages what was there.

New content goes to a temporary file in the folder of its target and is renamed last. Links are
followed to the file they lead to, which keeps its permissions. Devices and pipes are written
directly.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from dreamr._messages import reason
from dreamr.errors import Unwritable

# The file system allows a file to be changed, but not to be replaced: a mount point, or a folder
# that others own.
_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/(?:fd/(\d+)|std(out|err))")

_parts: set[Path] = set()  # temporary files of this process


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: until it is complete on the disk, the old content stays in place.

    Raises:
        OSError: If it cannot be written; the temporary file is removed.
    """
    with open_output(path) as file:
        file.write(content)


def append_line(file: FileIO, line: bytes, *, sync: bool = True) -> None:
    """Append one line to an unbuffered file, whole or not at all.

    Args:
        file: The file.
        line: The line, with its end.
        sync: Whether to wait until it is on the disk.

    Raises:
        OSError: If it cannot be written; the file then ends as before.
    """
    is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    start = file.seek(0, os.SEEK_END) if is_regular else None
    try:
        _write_all(file, line)
        if sync and start is not None:
            os.fsync(file.fileno())
    except BaseException:  # an interrupt must not leave half a line either
        if start is not None:
            with suppress(OSError):  # cleaning up must not hide the original error
                os.truncate(file.fileno(), start)
        raise


def open_output(path: Path) -> OutputFile:
    """Open a file that is replaced when it is closed.

    Raises:
        OSError: If it cannot be written.
    """
    try:
        return _open_output(path)
    except ValueError as error:  # a NUL byte, or a character that file names cannot have
        what = "embedded null byte" if "null" in str(error) else "not a name of a file"
        raise OSError(errno.EINVAL, what) from error


def discard_parts() -> None:
    """Remove the temporary files of this process, before it ends without cleaning up."""
    while _parts:
        with suppress(OSError):
            _parts.pop().unlink()


def unwritable(path: Path, error: Exception, advice: str = "choose another file") -> Unwritable:
    """Return the error about a file or folder that cannot be written.

    Args:
        path: The file or folder.
        error: What the operating system reports.
        advice: What the user can do about it.
    """
    return Unwritable(f"cannot write {path}: {reason(error)}; {advice}")


@contextmanager
def writing(path: Path, advice: str = "choose another file") -> Iterator[None]:
    """Guard a block that writes a file or a folder.

    Raises:
        Unwritable: If the operating system refuses; the message ends with `advice`.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, advice) from error


class OutputFile:
    """A file that replaces its target when it is closed; an error leaves the target as it was.

    Attributes:
        target: The file that is replaced, with links resolved.
    """

    def __init__(self, target: Path, file: FileIO, part: Path | None) -> None:
        """Take over an open file.

        Args:
            target: The file that is replaced.
            file: The temporary file, or the device itself; unbuffered.
            part: Path of the temporary file, None for devices and pipes.
        """
        self.target, self._file, self._part = target, file, part

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close() if error is None else self.discard()

    def write(self, content: bytes) -> None:
        """Write bytes after those before.

        Raises:
            OSError: If they cannot be written, for example on a full disk.
        """
        _write_all(self._file, content)

    def close(self) -> None:
        """Replace the target by this file.

        Raises:
            OSError: If that fails; the target stays as it was and the temporary file is removed.
        """
        try:
            if self._part is not None and not self._file.closed:
                self._replace(self._part)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary file and leave the target as it is."""
        self._file.close()
        if self._part is not None:
            with suppress(OSError):  # cleaning up must not hide the original error
                self._part.unlink(missing_ok=True)
            _parts.discard(self._part)

    def _replace(self, part: Path) -> None:
        os.fsync(self._file.fileno())
        try:
            os.replace(part, self.target)
        except OSError as error:
            if error.errno not in _IN_PLACE or not self.target.exists():
                raise
            self._file.seek(0)
            _overwrite(self.target, self._file.read())
        else:
            _parts.discard(part)
            _sync_folder(self.target.parent)


class Output:
    """A file that is checked now and written later.

    Its previous content stays until the new content is complete, and for good if nothing is
    written or writing fails.
    """

    def __init__(self, path: Path) -> None:
        """Check that the file can be written.

        Raises:
            Unwritable: If it cannot.
        """
        self.path = path
        with writing(path):
            self._file: OutputFile | None = open_output(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.discard()

    def write(self, text: str) -> None:
        """Write the whole content, once.

        Raises:
            Unwritable: If that fails, for example because the disk is full.
        """
        file, self._file = self._file, None
        assert file is not None
        with writing(self.path), file:
            file.write(text.encode("utf-8", "replace"))


def _open_output(path: Path) -> OutputFile:
    direct = open_direct(path)
    if direct is not None:
        return OutputFile(path, direct, None)
    target = Path(os.path.realpath(path))
    try:
        status = target.stat()
    except FileNotFoundError:
        return OutputFile(target, *_create(target.parent))
    check_replaceable(target, status)
    file, part = _create(target.parent, near=target)
    with suppress(OSError):  # some file systems have no permissions, and only root gives files away
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
    with suppress(OSError):
        os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
    return OutputFile(target, file, part)


def check_replaceable(path: Path, status: os.stat_result) -> None:
    """Check that a file which exists may be replaced.

    Raises:
        OSError: If it is not a regular file, or is protected against writing.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def open_direct(path: Path) -> FileIO | None:
    """Open a device, a pipe or a descriptor of this process for writing; None for other paths.

    Raises:
        OSError: If it cannot be opened; for a pipe, also if no process reads it.
    """
    if (number := _descriptor(path)) is not None:
        return FileIO(os.dup(number), "w")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        return None
    # Without O_NONBLOCK, opening a pipe without a reader would block for good.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(mode):
            raise OSError(errno.ENXIO, "it is a pipe that no process reads") from error
        raise
    os.set_blocking(descriptor, True)
    return FileIO(descriptor, "w")


def _descriptor(path: Path) -> int | None:
    """Return the file descriptor that a path such as /dev/stdout stands for.

    Opening such a path again would write over what the process itself writes there.
    """
    found = _DESCRIPTOR.fullmatch(str(path))
    if found is None:
        return None
    return int(found[1]) if found[1] else {"out": 1, "err": 2}[found[2]]


def _create(folder: Path, near: Path | None = None) -> tuple[FileIO, Path]:
    """Create a temporary file in a folder, or elsewhere if only the file `near` can be written."""
    part = folder / f".dreamr-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        file = FileIO(part, "x+")
    except OSError as error:
        if near is None or error.errno not in _IN_PLACE:
            raise
        import tempfile  # rarely needed

        descriptor, name = tempfile.mkstemp(prefix="dreamr-")
        file, part = FileIO(descriptor, "r+"), Path(name)
    _parts.add(part)
    return file, part


def _overwrite(target: Path, content: bytes) -> None:
    """Write a file in place; on failure, write the old content back."""
    with FileIO(target, "r+") as file:
        old = file.read()
        try:
            _fill(file, content)
        except OSError:
            with suppress(OSError):  # cleaning up must not hide the original error
                _fill(file, old)
            raise


def _fill(file: FileIO, content: bytes) -> None:
    file.seek(0)
    _write_all(file, content)
    file.truncate(len(content))
    os.fsync(file.fileno())


def _write_all(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:  # a full disk can take a part without an error
        rest = rest[file.write(rest) :]


def _sync_folder(folder: Path) -> None:
    """Wait until the new name is on the disk, where the file system supports that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
