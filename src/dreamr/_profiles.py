"""Open the profile that options name, and check it against the models' weights."""

from __future__ import annotations

from pathlib import Path

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr.gate import Profile, read_profile
from dreamr.steps import Role

_ROLES: tuple[Role, ...] = ("target", "draft")


def model_identities(options: RunOptions) -> dict[str, str]:
    """Return a hash of each model's weights, or the name of a remote model; reads all weights."""
    return {role: options.source(role).identity for role in _ROLES}


def open_profile(options: RunOptions) -> Profile | None:
    """Read the profile that the options name, None if they name none; reads all weights.

    Raises:
        BadOption: If the profile cannot be read or was made for other models.
    """
    if options.profile is None:
        return None
    profile = read_profile(Path(options.profile))
    profile.check_models(model_identities(options))
    return profile


def profile_for(options: RunOptions, profile: Profile | None, opened: str | None) -> Profile | None:
    """Return the profile that the options name, None if they name none.

    Args:
        options: Options of a run.
        profile: Profile that the Reasoner has opened.
        opened: Name of that.

    Raises:
        BadOption: If the options name another one.
    """
    found = profile if options.profile == opened else None
    if options.profile is not None and found is None:
        raise BadOption(
            f"the profile {options.profile} is not the one that the Reasoner was opened with: "
            "pass it to Reasoner(RunOptions(profile=...))"
        )
    return found
