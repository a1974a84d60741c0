"""Findings of the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "degraded", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. It is understandable without the other lines.

    Attributes:
        about: Name of the check.
        state: "ok"; "degraded" if the model works, but worse than it could; "wrong" if answers
            would be wrong or runs would fail; "unknown" if the check was not possible.
        what: What was tried and what was found.
        fix: What to do, with the flag or setting to change; None if there is nothing to fix.
        values: Measured values by name, for programs. Times are in milliseconds.
    """

    about: str
    state: State
    what: str
    fix: str | None = None
    values: Mapping[str, float | str | bool | None] = field(default_factory=dict, hash=False)
