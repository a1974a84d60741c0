"""Options of load and time: how a run reacts to a busy target and to its deadline."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dreamr._option_specs import Conflict, OptionSpec, Unused
from dreamr.runner import OnDeadline

LOAD = "Load"

LoadAware: TypeAlias = Annotated[
    bool,
    OptionSpec(
        "Reduce speculation as the target saturates: the fallback, the window, then the draft.",
        LOAD,
    ),
]
DeadlineSeconds: TypeAlias = Annotated[
    float | None,
    OptionSpec(
        "Seconds after which a run ends; it verifies less and answers as they run out.",
        LOAD,
        0.001,
        86400,
        shown="none",
    ),
]
DeadlinePolicy: TypeAlias = Annotated[
    OnDeadline,
    OptionSpec("At the deadline: best (the best answer so far) or error (and verify all).", LOAD),
]

DEADLINE_RULES = (Unused(("on_deadline",), lambda o: o.deadline is None, "without --deadline"),)
DEADLINE_CONFLICTS = (
    Conflict(
        lambda o: o.deadline is not None and o.on_deadline == "best" and o.deterministic,
        "a deadline makes the text depend on timing: add --on-deadline error, or leave out "
        "--deadline or --deterministic",
    ),
)
