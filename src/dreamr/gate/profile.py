"""Profiles: a calibrated gate for a pair of models and a kind of problems, stored as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from dreamr._files import read_json, shown
from dreamr._option_specs import BadOption
from dreamr._output_files import replace_file, writing
from dreamr.gate.registry import GATES
from dreamr.gate.verdict import Gate

VERSION = 2

Bounds: TypeAlias = Literal["steps", "answers"]
Reference: TypeAlias = Literal["labels", "target"]
# Options of a profile that dreamr calibrate takes; it runs fpsr, greedily.
_CALIBRATED = ("final_answer",)


@dataclass(frozen=True, slots=True)
class Profile:
    """A gate and the conditions under which its risk is bounded.

    Attributes:
        gate: The gate.
        risk: Upper bound on what `bounds` names, in (0, 1).
        confidence: Confidence of the bound, in (0, 1).
        models: Identities of the target's and the draft's weights, by role.
        data: Tasks, seed, number of problems and of steps used in calibration.
        measured: Errors and accepted shares found in calibration.
        bounds: 'steps': wrongly accepted steps per judged step. 'answers': wrong final answers per
            problem that the target alone would not have given.
        reference: What decides that an answer is wrong: the task's labels or the target's answer.
        options: Options of a run for which the bound holds; it holds for no other values.
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
        """Return the JSON object that `read_profile` reads."""
        kind = next(name for name, made in GATES.items() if type(self.gate) is made)
        gate = {"kind": kind, **asdict(self.gate)}  # type: ignore[call-overload]
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "gate"}
        return {"version": VERSION, "gate": gate, **rest}

    @property
    def text(self) -> str:
        """Content of the file that `read_profile` reads."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check that the profile holds for a run with these options.

        Raises:
            BadOption: If it was made for other values.
        """
        for name, value in self.options.items():
            other = options.get(name)
            if other != value:
                flag = f"--{name.replace('_', '-')}"
                way = "leave out --profile"
                if name in _CALIBRATED:
                    way = f"run dreamr calibrate with {flag} {other}"
                raise BadOption(
                    f"the profile was made for {flag} {value}, not {other}: pass {flag} {value}, "
                    f"or {way}"
                )

    def check_models(self, models: Mapping[str, str]) -> None:
        """Check that the profile holds for models with these identities, by role.

        Raises:
            BadOption: If it was made for other models.
        """
        for role, weights in self.models.items():
            if models.get(role) != weights:
                raise BadOption(
                    f"the profile was made for another {role} (weights {weights}, not "
                    f"{models.get(role)}): run dreamr calibrate for this pair"
                )


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile as JSON, replacing the file.

    Raises:
        Unwritable: If the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, profile.text.encode())


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        BadOption: If the file cannot be read, has another version or is not a profile. The message
            names the file and the key or line.
    """
    values = read_json(path, "profile", BadOption)
    try:
        return _profile(_Entries(values))
    except ValueError as error:
        raise BadOption(f"profile {path}: {error}; run dreamr calibrate again") from error


def _profile(entries: _Entries) -> Profile:
    version = entries.get("version")
    if version != VERSION:
        raise ValueError(f"version is {shown(version)}, but this dreamr reads version {VERSION}")
    measured = entries.inside("measured")
    models = entries.inside("models")
    return Profile(
        gate=_gate(entries.inside("gate")),
        risk=entries.share("risk"),
        confidence=entries.share("confidence"),
        models={role: models.text(role) for role in models.values},
        data=entries.inside("data").values,
        measured={name: measured.number(name) for name in measured.values},
        bounds=cast("Bounds", entries.choice("bounds", get_args(Bounds))),
        reference=cast("Reference", entries.choice("reference", get_args(Reference))),
        options=entries.inside("options").values,
    )


def _gate(entries: _Entries) -> Gate:
    kind = entries.choice("kind", GATES)
    declared = {field.name: field for field in fields(GATES[kind])}
    hints = get_type_hints(GATES[kind])
    for name in entries.values:
        if name != "kind" and name not in declared:
            raise ValueError(f"{entries.key(name)} is not a setting of the gate {kind}")
    settings: dict[str, Any] = {}
    for name, item in declared.items():
        if name not in entries.values and item.default is not MISSING:
            continue
        if get_origin(hints[name]) is tuple:
            settings[name] = entries.numbers(name)
        elif entries.get(name) is None and type(None) in get_args(hints[name]):
            settings[name] = None
        else:
            settings[name] = entries.number(name)
    try:
        made: Gate = GATES[kind](**settings)
    except ValueError as error:  # begins with the name of the setting
        raise ValueError(entries.key(str(error))) from error
    return made


@dataclass(frozen=True, slots=True)
class _Entries:
    """A JSON object of a profile. Its methods raise `ValueError` with the key of a bad entry.

    Attributes:
        values: The object.
        path: Key of the object in the file; empty for the outermost one.
    """

    values: Mapping[str, Any]
    path: str = ""

    def key(self, name: str) -> str:
        """Return the full key of an entry, such as gate.threshold."""
        return f"{self.path}.{name}" if self.path else name

    def get(self, name: str) -> Any:
        """Return an entry that must be there."""
        if name not in self.values:
            raise ValueError(f"{self.key(name)} is missing")
        return self.values[name]

    def inside(self, name: str) -> _Entries:
        """Return an entry that is an object."""
        value = self.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return _Entries(value, self.key(name))

    def text(self, name: str) -> str:
        """Return an entry that is a string."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def choice(self, name: str, known: Iterable[str]) -> str:
        """Return an entry that is one of the known strings."""
        value = self.get(name)
        if not isinstance(value, str) or value not in known:
            raise self._wrong(name, f"one of {', '.join(known)}")
        return value

    def number(self, name: str) -> float:
        """Return an entry that is a finite number."""
        value = self.get(name)
        if not _is_number(value):
            raise self._wrong(name, "a number")
        return cast("float", value)

    def share(self, name: str) -> float:
        """Return an entry that is a number in (0, 1)."""
        value = self.get(name)
        if not (_is_number(value) and 0.0 < value < 1.0):
            raise self._wrong(name, "a number between 0 and 1")
        return float(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return an entry that is a list of finite numbers."""
        value = self.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list of numbers")
        entries = _Entries({f"{name}[{place}]": one for place, one in enumerate(value)}, self.path)
        return tuple(map(entries.number, entries.values))

    def _wrong(self, name: str, wanted: str) -> ValueError:
        return ValueError(f"{self.key(name)} must be {wanted}, not {shown(self.values[name])}")


def _is_number(value: object) -> bool:
    """Check for a finite number; JSON's NaN and Infinity are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer above the range of floats
        return False
