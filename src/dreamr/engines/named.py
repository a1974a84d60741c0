"""Models that installed distributions bring under a name, as `--target embedded`.

A distribution declares them as entry points of the group `dreamr.models`. Each leads to a function
that takes a role, 'target' or 'draft', and returns a folder, a Hugging Face id or a server's URL.
"""

from __future__ import annotations

from dreamr._plugins import Installed
from dreamr.errors import ModelNotFound
from dreamr.steps import Role

DEFAULT = "embedded"
_INSTALLED = Installed("dreamr.models", "model", ModelNotFound)


def model_names() -> tuple[str, ...]:
    """The names that can be given in place of a folder, sorted."""
    return _INSTALLED.names


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
    found = _INSTALLED.load(name or DEFAULT)
    if found is not None:
        try:
            return str(found(role))
        except Exception as error:  # as for importing: another distribution's code
            raise ModelNotFound(f"model {name or DEFAULT!r} cannot be found: {error!r}") from error
    if name is None:
        raise ModelNotFound(
            f"no {role} was named and the test bed is not installed: give --target and --draft, "
            "or pip install 'dreamr[testbed]'"
        )
    return name
