"""Findings of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    about: str
    state: State
    what: str
    fix: str | None = None
