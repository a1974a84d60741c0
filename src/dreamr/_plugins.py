"""Modules of other people that add to what is known by name: tasks, reward terms."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from dreamr._knobs import BadOption


def import_plugins(names: str | None) -> None:
    """Import modules, given by their names or as files, with commas between them.

    Raises:
        BadOption: one cannot be imported.
    """
    for name in filter(None, map(str.strip, (names or "").split(","))):
        try:
            _import_file(Path(name)) if name.endswith(".py") else import_module(name)
        except (ImportError, OSError, SyntaxError) as error:
            raise BadOption(f"plugin {name!r} cannot be imported: {error}") from error


def _import_file(path: Path) -> None:
    spec = spec_from_file_location(path.stem, path)
    if path.stem in sys.modules or spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
