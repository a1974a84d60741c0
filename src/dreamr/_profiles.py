"""The profile that options name, checked against the weights of their models."""

from __future__ import annotations

from pathlib import Path

from dreamr._options import RunOptions
from dreamr.gate import Profile, read_profile
from dreamr.steps import Role

_ROLES: tuple[Role, ...] = ("target", "draft")


def model_identities(options: RunOptions) -> dict[str, str]:
    """A hash of each model's weights, or its name where it is remote. Reads all weights."""
    return {role: options.source(role).identity for role in _ROLES}


def open_profile(options: RunOptions) -> Profile | None:
    """The profile that the options name, None where they name none. Reads all weights.

    Raises:
        BadOption: it cannot be read, or was made for other models.
    """
    if options.profile is None:
        return None
    profile = read_profile(Path(options.profile))
    profile.check_models(model_identities(options))
    return profile
