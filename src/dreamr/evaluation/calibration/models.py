"""Which models a profile is for, and the gate that one gives to these."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from dreamr._options import RunOptions
from dreamr._provenance import weights_hash
from dreamr._reasoner import local_model
from dreamr.evaluation.calibration.profile import Profile, read_profile
from dreamr.gate import Gate
from dreamr.schedules import method
from dreamr.trace import Role

_ROLES: tuple[Role, ...] = ("target", "draft")


def models_of(options: RunOptions) -> dict[str, str]:
    """What stands for each model: a hash of its weights, or its name where it is not here."""
    return {role: _identity(role, options) for role in _ROLES}


def profiled_gate(options: RunOptions) -> Gate:
    """The gate of the profile that the options name.

    Raises:
        BadOption: it cannot be read, or was made for other models or options.
    """
    profile = _profile(str(options.profile))
    # Where one model writes alone there is nothing to decide, and nothing to keep.
    decides = method(options.method).judges
    profile.check(models_of(options), asdict(options) if decides else dict(profile.options))
    return profile.gate


def _identity(role: Role, options: RunOptions) -> str:
    served = options.target_model if role == "target" else options.draft_model
    return served if served is not None else _weights(local_model(role, options))


# Every run asks for them, and each would read all weights.
@lru_cache(16)
def _profile(path: str) -> Profile:
    return read_profile(Path(path))


@lru_cache(16)
def _weights(model: str) -> str:
    return weights_hash(Path(model)) or model
