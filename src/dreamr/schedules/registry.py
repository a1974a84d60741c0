"""Methods by name, as given to `--method`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from dreamr.errors import Unsupported
from dreamr.schedules.deadline_keeper import DeadlineKeeper
from dreamr.schedules.fpsr import Fpsr
from dreamr.schedules.lookahead import Lookahead
from dreamr.schedules.parse import Parse
from dreamr.schedules.protocol import Schedule, ScheduleConfig
from dreamr.schedules.sequential import Sequential
from dreamr.schedules.single_model import SingleModel
from dreamr.schedules.thought_closer import ThoughtCloser
from dreamr.schedules.token_speculation import TokenSpeculation
from dreamr.steps import Role

MethodName: TypeAlias = Literal[
    "fpsr",
    "sequential",
    "target",
    "draft",
    "token-sd",
    "prompt-lookup",
    "specreason",
    "lookahead",
    "parse",
]


@dataclass(frozen=True, slots=True)
class Method:
    """A named schedule and the models that it uses.

    Attributes:
        schedule: Constructor of the schedule.
        roles: Roles of the models that the method uses.
        commits_pieces: Whether it commits pieces of a few tokens, not steps; only the number of
            tokens limits them.
        gated: Whether options choose its gate. Others have a gate of their own, or none.
    """

    schedule: Callable[[ScheduleConfig], Schedule]
    roles: tuple[Role, ...] = ("draft", "target")
    commits_pieces: bool = False
    gated: bool = False

    @property
    def judges(self) -> bool:
        """Whether the target judges drafted steps."""
        return len(self.roles) > 1


_METHODS: Mapping[str, Method] = {
    "fpsr": Method(Fpsr, gated=True),
    "sequential": Method(Sequential, gated=True),
    "target": Method(partial(SingleModel, role="target"), ("target",)),
    "draft": Method(partial(SingleModel, role="draft"), ("draft",)),
    "token-sd": Method(TokenSpeculation, commits_pieces=True),
    "prompt-lookup": Method(partial(SingleModel, role="target"), ("target",)),
    "specreason": Method(Sequential),
    "lookahead": Method(Lookahead),
    "parse": Method(Parse, gated=True),
}

METHODS = tuple(_METHODS)
GATED_METHODS = tuple(name for name, found in _METHODS.items() if found.gated)


def method(name: str) -> Method:
    """Return the method with the given name.

    Raises:
        Unsupported: If the name is unknown; the message lists the known names.
    """
    if name not in _METHODS:
        raise Unsupported(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return _METHODS[name]


def by_name(name: str, options: ScheduleConfig | None = None) -> Schedule:
    """Create a schedule for one run.

    If the options limit what the run may write, a thought that reaches a limit is closed, and the
    target answers: the draft if it is alone.

    Args:
        name: One of `METHODS`.
        options: Options of the schedule; defaults if None.

    Raises:
        Unsupported: If the name is unknown.
    """
    found, options = method(name), options or ScheduleConfig()
    if found.commits_pieces:
        options = replace(options, max_steps=options.max_tokens)
    schedule: Schedule = found.schedule(options)
    if options.text is None:
        return schedule
    roles = found.roles[::-1]  # the leading model first
    schedule = ThoughtCloser(schedule, options, roles[0])
    return DeadlineKeeper(schedule, options, roles) if options.hurries else schedule
