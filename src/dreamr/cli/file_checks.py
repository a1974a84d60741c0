"""No command may write over a file that it reads, or write two things to one file."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dreamr._option_specs import BadOption, OptionSpec, listed

_STREAMS = {1: "standard output", 2: "standard error"}


def check_files(given: Mapping[str, tuple[OptionSpec, Any]]) -> None:
    """Check the files that the options of a command name.

    Args:
        given: Declaration and value of each option, by its flag.

    Raises:
        BadOption: If an output is also an input or another output, by whatever name or link.
    """
    read = [
        (flag, path)
        for flag, (spec, value) in given.items()
        if spec.reads is not None
        for path in _inputs(value, spec.reads)
    ]
    written = [
        (flag, Path(path))
        for flag, (spec, value) in given.items()
        if spec.writes
        for path in _paths(value)
    ]
    for place, (flag, path) in enumerate(written):
        for other, found in read:
            if _is_same(path, found):
                raise BadOption(
                    f"{flag} {path} would overwrite the file that {other} reads: name another file"
                )
        for other, found in written[:place]:
            if _is_same(path, found):
                raise BadOption(f"{other} and {flag} must name different files")
        for number, stream in _STREAMS.items():
            if _is_redirected(path, number):
                raise BadOption(f"{flag} and {stream} must be different files")


def _inputs(value: Any, pattern: str) -> Iterator[Path]:
    """Yield the files that an option reads; of a folder, those that match the pattern."""
    for path in map(Path, _paths(value)):
        with suppress(OSError, ValueError):  # its reader reports what is wrong with it
            yield from path.glob(pattern) if path.is_dir() else (path,)


def _paths(value: Any) -> Iterable[str]:
    """Return the paths of an option: one, several, a list with commas, or NAME=PATH."""
    match value:
        case None:
            return ()
        case str():
            return (value, *(part.rpartition("=")[2] for part in listed(value)))
        case tuple():
            return [path for one in value for path in _paths(one)]
        case _:
            return (str(value),)


def _is_same(first: Path, second: Path) -> bool:
    try:
        one, other = first.stat(), second.stat()
    except (OSError, ValueError):
        return _is_same_name(first, second)
    if stat.S_ISCHR(one.st_mode) or stat.S_ISFIFO(one.st_mode):
        return False  # terminals and /dev/null take any number of outputs
    return os.path.samestat(one, other)


def _is_same_name(first: Path, second: Path) -> bool:
    """Compare files that are not there yet."""
    try:
        one, other = Path(os.path.realpath(first)), Path(os.path.realpath(second))
        if one == other:
            return True
        return (
            one.name.casefold() == other.name.casefold()
            and one.parent.samefile(other.parent)
            and _ignores_case(one.parent)
        )
    except (OSError, ValueError):  # a parent is missing, which is reported when it is written
        return False


def _ignores_case(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".dreamr-a") as probe:
        name = Path(probe.name).name
        return (folder / name.swapcase()).exists()


def _is_redirected(path: Path, number: int) -> bool:
    """Check whether the shell has redirected a standard stream to a file."""
    stream = {1: sys.stdout, 2: sys.stderr}[number]
    with suppress(OSError, ValueError, AttributeError):
        status = os.fstat(stream.fileno())
        named = str(path).startswith(("/dev/", "/proc/"))
        return stat.S_ISREG(status.st_mode) and not named and os.path.samestat(status, path.stat())
    return False
