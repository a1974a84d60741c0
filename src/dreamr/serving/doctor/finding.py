"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "degraded", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    about: the check. state: 'degraded' works, but worse than it could; 'wrong' makes answers wrong
    or runs fail; 'unknown' could not be looked at. what: what was seen. fix: the flag or setting
    that fixes it, None where there is nothing to fix.
    """

    about: str
    state: State
    what: str
    fix: str | None = None
