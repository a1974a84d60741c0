"""Schedules by the names that people give."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from dreamr.errors import Unsupported
from dreamr.schedules._protocol import Options, Schedule

_FACTORIES: dict[str, Callable[[Options], Schedule]] = {}

METHODS = ("fpsr", "sequential", "target")


def by_name(name: str, options: Options | None = None) -> Schedule:
    """A fresh schedule for one run.

    Raises:
        Unsupported: an unknown name; the message lists the known ones.
    """
    if name not in METHODS:
        raise Unsupported(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    raise NotImplementedError
