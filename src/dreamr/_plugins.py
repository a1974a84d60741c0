"""Extensions: modules named on the command line, and entry points of installed distributions."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamr._messages import describe
from dreamr._option_specs import BadOption, listed
from dreamr.errors import DreamrError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints


@dataclass(frozen=True, slots=True)
class Installed:
    """Entry points of one group that installed distributions provide.

    Attributes:
        group: Name of the group.
        what: Name of one entry in messages, such as "model".
        error: Class of errors about a distribution that cannot be used.
    """

    group: str
    what: str
    error: type[DreamrError]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted. No distribution is imported."""
        return tuple(sorted({point.name for point in self._points()}))

    @property
    def distributions(self) -> frozenset[str]:
        """Names of the distributions that provide entries."""
        return frozenset(point.dist.name for point in self._points() if point.dist is not None)

    def load(self, name: str) -> Any | None:
        """Import the object of a name; None if no distribution provides it.

        Raises:
            DreamrError: An instance of `error`, if two distributions provide the name or if it
                cannot be imported.
        """
        points = [point for point in self._points() if point.name == name]
        if not points:
            return None
        if len({point.value for point in points}) > 1:
            raise self.error(
                f"{self.what} {name!r} is provided by {_origins(points)}: uninstall all but one"
            )
        try:
            return points[0].load()
        # Other people's code: anything can be raised.
        except (Exception, SystemExit) as error:
            raise self.error(
                f"{self.what} {name!r} of {_origins(points)} cannot be imported: {describe(error)}"
            ) from error

    def _points(self) -> list[EntryPoint]:
        return list(_entry_points(self.group, _search_path()))


def _search_path() -> tuple[tuple[str, int], ...]:
    """Return the folders that modules are imported from, and when each changed last.

    Installing or removing a distribution changes one of them.
    """
    changes = []
    for folder in sys.path:
        with suppress(OSError):
            changes.append((folder, os.stat(folder or ".").st_mtime_ns))
    return tuple(changes)


@lru_cache(maxsize=8)
def _entry_points(group: str, search_path: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Return the entry points of a group in all distributions of a search path.

    Cached, since each call reads a file per distribution, and each model and task is looked up.
    """
    from importlib.metadata import entry_points  # slow to import and rarely needed

    return entry_points(group=group)


def _origins(points: list[EntryPoint]) -> str:
    return " and ".join(f"{p.dist.name if p.dist else 'unknown'} ({p.value})" for p in points)


def import_plugins(names: str | None) -> None:
    """Import modules, given as comma-separated names or `.py` files.

    Raises:
        BadOption: If a module cannot be imported.
    """
    for name in listed(names):
        try:
            _import_file(Path(name)) if name.endswith(".py") else import_module(name)
        except DreamrError:
            raise
        except (Exception, SystemExit) as error:  # as above
            raise BadOption(f"plugin {name!r} cannot be imported: {describe(error)}") from error


def _import_file(path: Path) -> None:
    """Import a file under a unique module name, so that it can share its name with any module."""
    name = f"dreamr plugin {path.resolve()}"
    spec = spec_from_file_location(name, path)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
