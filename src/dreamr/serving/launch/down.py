"""End a pair that is up, and what one that died has left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from dreamr._messages import short_path
from dreamr._option_specs import BadOption
from dreamr.errors import DreamrError
from dreamr.pairs import read_pair_file
from dreamr.pairs.running import STATE, has_state, is_up, known_names, read_state, state_folder
from dreamr.serving.launch.guarded import GRACE
from dreamr.serving.launch.instance import owner
from dreamr.serving.launch.leftovers import end_leftovers
from dreamr.serving.launch.secret_files import remove_secret_files

_POLL = 0.1  # seconds between two looks
_SUFFIXES = (".yaml", ".yml", ".json")  # of pair files
_KILLED_SECONDS = 10.0  # for a process to end after SIGKILL


class NotUp(DreamrError):
    """No pair of this name is up."""


class StillUp(DreamrError):
    """A pair has not ended, although it was killed."""


def name_of(given: str) -> str:
    """Return the name of a pair, given the name or its pair file.

    Raises:
        BadOption: If another file of the same name is up.
        BadPairFile: If it is a file that cannot be read.
    """
    path = Path(os.path.expanduser(given))
    if given in known_names() or not _is_file(path):
        return given
    place = os.path.abspath(path)
    for name in known_names():
        with suppress(DreamrError):
            state = read_state(name)
            if state is not None and state.file == place:
                return name
    name = read_pair_file(path, needs_secrets=False).name
    state = None
    with suppress(DreamrError):  # it is damaged
        state = read_state(name)
    if state is not None and is_up(name):
        raise BadOption(
            f"{name} is up from another file, {short_path(state.file)}: name it as {name}"
        )
    return name


def _is_file(path: Path) -> bool:
    """Return whether a path is that of a pair file, also of one that is missing, or FILE:NAME.

    A folder is not: the file pair.yaml in it has its name by default.
    """
    suffix = Path(path.name.partition(":")[0]).suffix.lower()
    return suffix in _SUFFIXES or (os.path.exists(path) and not os.path.isdir(path))


async def bring_down(name: str, seconds: float, show: Callable[[str], None]) -> None:
    """End a pair, and remove its state; its logs stay.

    Args:
        name: Name of the pair.
        seconds: Longest time in which it may end in order; it is killed then.
        show: Called with a line on what was done.

    Raises:
        NotUp: If nothing of it is there.
        PairStateError: If its folder cannot be read.
        StillUp: If it does not end.
    """
    folder = state_folder(name)
    had_state, was_up = has_state(name), is_up(name)
    if was_up:
        show(f"{name}: running requests may finish")
        await _end(name, folder, seconds, show)
        if is_up(name):
            raise StillUp(
                f"{name} is still up {_KILLED_SECONDS:g} s after SIGKILL: run dreamr down {name} "
                "again later"
            )
    left = await end_leftovers(folder, grace=GRACE + _POLL)
    remove_secret_files(folder)
    if not was_up and not left and not had_state:
        known = ", ".join(known_names())
        raise NotUp(f"{name} is not up{known and '; these are: '}{known}")
    with suppress(OSError):
        (folder / STATE).unlink(missing_ok=True)
    if was_up:
        show(f"{name}: down")
    else:
        show(f"{name}: had died; {left} of its processes ended")


async def _end(name: str, folder: Path, seconds: float, show: Callable[[str], None]) -> None:
    """End the process that serves a pair."""
    for number, limit in ((signal.SIGTERM, seconds), (signal.SIGKILL, _KILLED_SECONDS)):
        process = owner(folder)
        if process is not None and is_up(name):
            with suppress(ProcessLookupError):
                os.kill(process, number)
        with anyio.move_on_after(limit):
            while is_up(name):
                await anyio.sleep(_POLL)
            return
        if number == signal.SIGTERM:
            show(f"{name}: still up after {seconds:g} s, killing it")
