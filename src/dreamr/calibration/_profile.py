"""Profiles: a gate for a pair of models and a kind of problems, with what it promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dreamr._knobs import BadOption
from dreamr.gate import GATES, Gate

VERSION = 1


@dataclass(frozen=True, slots=True)
class Profile:
    """A gate, and where it holds.

    risk, confidence: false accepts a judged step stay below `risk`, with this confidence.
    models: what stands for the target's and the draft's weights. data: tasks, seed, problems and
    steps. measured: errors, cases, accepted shares.
    """

    gate: Gate
    risk: float
    confidence: float
    models: Mapping[str, str]
    data: Mapping[str, Any]
    measured: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Values that `read_profile` understands."""
        kind = next(name for name, made in GATES.items() if type(self.gate) is made)
        gate = {"kind": kind, **asdict(self.gate)}  # type: ignore[call-overload]
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "gate"}
        return {"version": VERSION, "gate": gate, **rest}

    def check(self, models: Mapping[str, str]) -> None:
        """See that it is for these models.

        Raises:
            BadOption: it is for others.
        """
        for role, weights in self.models.items():
            if models.get(role) != weights:
                raise BadOption(
                    f"the profile was made for another {role} (weights {weights}, not "
                    f"{models.get(role)}): run dreamr calibrate for this pair"
                )


def write_profile(path: Path, profile: Profile) -> None:
    """As JSON, in the place of what was there.

    Raises:
        BadOption: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(profile.to_json(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadOption(f"the profile cannot be written to {path}: {error.strerror}") from error


def read_profile(path: Path) -> Profile:
    """The profile of a file.

    Raises:
        BadOption: it cannot be read, is of another version, or is no profile.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"the profile {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadOption(f"{path} is no profile: {error}") from error
    try:
        if values["version"] != VERSION:
            raise BadOption(
                f"{path} has version {values['version']}, this dreamr reads {VERSION}: "
                "run dreamr calibrate again"
            )
        given = dict(values["gate"])
        made = GATES[given.pop("kind")]
        gate = made(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
        return Profile(
            gate,
            float(values["risk"]),
            float(values["confidence"]),
            dict(values["models"]),
            dict(values["data"]),
            dict(values["measured"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadOption(f"{path} is no profile of dreamr calibrate: {error!r}") from error
