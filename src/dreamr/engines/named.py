"""Models that installed distributions provide under a name, such as `embedded`.

A distribution declares them as entry points in the group `dreamr.models`. Each refers to a function
that takes a role, 'target' or 'draft', and returns a folder, a Hugging Face ID or a server URL.
"""

from __future__ import annotations

from dreamr._messages import describe
from dreamr._plugins import Installed
from dreamr.errors import ModelNotFound
from dreamr.steps import Role

DEFAULT = "embedded"
_INSTALLED = Installed("dreamr.models", "model", ModelNotFound)


def model_names() -> tuple[str, ...]:
    """Return the names of all installed named models, sorted."""
    return _INSTALLED.names


def locate(name: str | None, role: Role) -> str:
    """Resolve a model name to a folder, a Hugging Face ID or a server URL.

    Args:
        name: Name of an installed model, which is resolved, or any other location, which is
            returned unchanged. None for the test bed's model.
        role: Role of the model.

    Raises:
        ModelNotFound: If no model is named and the test bed is not installed, or if the
            distribution that provides the name cannot be loaded.
    """
    found = _INSTALLED.load(name or DEFAULT)
    if found is not None:
        try:
            return str(found(role))
        except Exception as error:  # code of another distribution: anything can be raised
            raise ModelNotFound(
                f"model {name or DEFAULT!r} cannot be found: {describe(error)}"
            ) from error
    if name is None:
        raise ModelNotFound(
            f"no {role} model is given and the test bed is not installed: pass --target and "
            "--draft, or run pip install 'dreamr[testbed]'"
        )
    return name
