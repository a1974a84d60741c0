"""What others add by name: modules given on the command line, and installed distributions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamr._option_specs import BadOption, listed
from dreamr.errors import DreamrError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Installed:
    """What installed distributions bring as entry points of one group.

    group: the name of the group. what: what one of them is called in messages. error: the class of
    errors about a distribution that cannot be used.
    """

    group: str
    what: str
    error: type[DreamrError]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted; no distribution is imported."""
        return tuple(sorted({point.name for point in self._points()}))

    @property
    def distributions(self) -> frozenset[str]:
        """The names of the distributions that bring any."""
        return frozenset(point.dist.name for point in self._points() if point.dist is not None)

    def load(self, name: str) -> Any | None:
        """The object of this name; None where no distribution brings it.

        Raises:
            DreamrError: of class `error`: two distributions bring it, or one cannot be imported.
        """
        points = [point for point in self._points() if point.name == name]
        if not points:
            return None
        if len({point.value for point in points}) > 1:
            raise self.error(
                f"{self.what} {name!r} comes from {_origins(points)}: uninstall all but one"
            )
        try:
            return points[0].load()
        except Exception as error:  # anything can be wrong in another distribution's modules
            raise self.error(
                f"{self.what} {name!r} of {_origins(points)} cannot be imported: {error!r}"
            ) from error

    def _points(self) -> list[EntryPoint]:
        from importlib.metadata import entry_points  # slow to import, and often not needed

        return list(entry_points(group=self.group))


def _origins(points: list[EntryPoint]) -> str:
    return " and ".join(f"{p.dist.name if p.dist else 'unknown'} ({p.value})" for p in points)


def import_plugins(names: str | None) -> None:
    """Import modules, given by their names or as files, with commas between them.

    Raises:
        BadOption: one cannot be imported.
    """
    for name in listed(names):
        try:
            _import_file(Path(name)) if name.endswith(".py") else import_module(name)
        except DreamrError:
            raise
        except Exception as error:  # whatever stands in other people's modules
            raise BadOption(f"plugin {name!r} cannot be imported: {error!r}") from error


def _import_file(path: Path) -> None:
    """Under a name of its own, so that a file may be called like any module."""
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
