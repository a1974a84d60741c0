"""Profiles: a gate for a pair of models and a kind of problems, with what it promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from dreamr._files import writing
from dreamr._option_specs import BadOption
from dreamr.gate.registry import GATES
from dreamr.gate.verdict import Gate

VERSION = 2

Bounds: TypeAlias = Literal["steps", "answers"]
Reference: TypeAlias = Literal["labels", "target"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A gate, and where it holds.

    risk, confidence: what it bounds stays below `risk`, with this confidence.
    models: what stands for the target's and the draft's weights. data: tasks, seed, problems and
    steps. measured: errors, accepted shares. bounds: 'steps', false accepts a judged step;
    'answers', wrong final answers a problem that the target alone would not have given. reference:
    what says that an answer is wrong, the task's labels or the target's own answer. options: of a
    run, at which it holds and at no others.
    """

    gate: Gate
    risk: float
    confidence: float
    models: Mapping[str, str]
    data: Mapping[str, Any]
    measured: Mapping[str, float]
    bounds: Bounds = "steps"
    reference: Reference = "labels"
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Values that `read_profile` understands."""
        kind = next(name for name, made in GATES.items() if type(self.gate) is made)
        gate = {"kind": kind, **asdict(self.gate)}  # type: ignore[call-overload]
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "gate"}
        return {"version": VERSION, "gate": gate, **rest}

    def check_options(self, options: Mapping[str, Any]) -> None:
        """See that it holds for a run with these options.

        Raises:
            BadOption: it was made for others.
        """
        for name, value in self.options.items():
            if options.get(name) != value:
                flag = name.replace("_", "-")
                raise BadOption(
                    f"the profile was made for --{flag} {value}, not {options.get(name)}: give it "
                    "that, or run dreamr calibrate with yours"
                )

    def check_models(self, models: Mapping[str, str]) -> None:
        """See that it holds for these models, by their identities.

        Raises:
            BadOption: it was made for others.
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
        Unwritable: it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(profile.to_json(), indent=2) + "\n", encoding="utf-8")


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
        bounds, reference = values["bounds"], values["reference"]
        if bounds not in get_args(Bounds) or reference not in get_args(Reference):
            raise ValueError(f"it bounds {bounds} by {reference}")
        return Profile(
            gate,
            float(values["risk"]),
            float(values["confidence"]),
            dict(values["models"]),
            dict(values["data"]),
            dict(values["measured"]),
            bounds,
            reference,
            dict(values["options"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadOption(f"{path} is no profile of dreamr calibrate: {error!r}") from error
