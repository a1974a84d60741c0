"""Models that installed distributions bring under a name, as `--target embedded`.

A distribution declares them as entry points of the group `dreamr.models`. Each leads to a function
that takes a role, 'target' or 'draft', and returns a folder, a Hugging Face id or a server's URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamr.errors import ModelNotFound
from dreamr.steps import Role

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "dreamr.models"
DEFAULT = "embedded"


def model_names() -> tuple[str, ...]:
    """The names that can be given in place of a folder, sorted."""
    return tuple(sorted({entry.name for entry in _entries()}))


def locate(name: str | None, role: Role) -> str:
    """Where the model of a role is: a folder, a Hugging Face id or a URL.

    Args:
        name: what the user gave; a name that a distribution brings is resolved, anything else is
            returned as it is. None: the test bed's model.
        role: whose model it is.

    Raises:
        ModelNotFound: no model was named and the test bed is not installed, or the distribution
            that brings the name cannot be loaded.
    """
    found = _entries().select(name=name or DEFAULT)
    if found:
        return _resolve(next(iter(found)), role)
    if name is None:
        raise ModelNotFound(
            f"no {role} was named and the test bed is not installed: give --target and --draft, "
            "or pip install 'dreamr[testbed]'"
        )
    return name


def _entries() -> EntryPoints:
    from importlib.metadata import entry_points  # a third of the time that dreamr takes to import

    return entry_points(group=GROUP)


def _resolve(entry: EntryPoint, role: Role) -> str:
    try:
        return str(entry.load()(role))
    except Exception as error:  # whatever stands in other people's distributions
        raise ModelNotFound(f"the model {entry.name!r} cannot be loaded: {error!r}") from error
