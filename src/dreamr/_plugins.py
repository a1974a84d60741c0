"""Modules of other people that add to what is known by name: tasks, reward terms."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from dreamr._option_specs import BadOption, listed
from dreamr.errors import DreamrError


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
