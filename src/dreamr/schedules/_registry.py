"""Schedules by the names that people give."""

from __future__ import annotations

from collections.abc import Callable

from dreamr.errors import Unsupported
from dreamr.schedules._fpsr import Fpsr
from dreamr.schedules._protocol import Options, Schedule
from dreamr.schedules._sequential import Sequential
from dreamr.schedules._target import TargetAlone

_FACTORIES: dict[str, Callable[[Options], Schedule]] = {
    "fpsr": Fpsr,
    "sequential": Sequential,
    "target": TargetAlone,
}

METHODS = tuple(_FACTORIES)


def by_name(name: str, options: Options | None = None) -> Schedule:
    """A fresh schedule for one run.

    Raises:
        Unsupported: an unknown name; the message lists the known ones.
    """
    if name not in _FACTORIES:
        raise Unsupported(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return _FACTORIES[name](options or Options())
