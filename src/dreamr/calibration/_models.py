"""Which models a profile is for, and the gate that one gives to these."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dreamr._options import RunOptions
from dreamr._provenance import weights_hash
from dreamr._reasoner import local_model
from dreamr.calibration._profile import read_profile
from dreamr.gate import Gate
from dreamr.trace import Role

_ROLES: tuple[Role, ...] = ("target", "draft")


def models_of(options: RunOptions) -> dict[str, str]:
    """What stands for each model: a hash of its weights, or its name where it is not here."""
    return {role: _identity(role, options) for role in _ROLES}


@lru_cache(16)
def profiled_gate(options: RunOptions) -> Gate:
    """The gate of the profile that the options name; read once.

    Raises:
        BadOption: it cannot be read, or was made for other models.
    """
    profile = read_profile(Path(str(options.profile)))
    profile.check(models_of(options))
    return profile.gate


def _identity(role: Role, options: RunOptions) -> str:
    served = options.target_model if role == "target" else options.draft_model
    if served is not None:
        return served
    name = local_model(role, options)
    return weights_hash(Path(name)) or name
