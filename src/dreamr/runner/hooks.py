"""What may see every run of a Reasoner before it begins and after it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from anyio.abc import TaskGroup

from dreamr.conversation import Conversation
from dreamr.engines import Engine
from dreamr.runner.config import RunConfig
from dreamr.steps import StepFormat
from dreamr.trace import Result


@dataclass(frozen=True, slots=True, eq=False)
class RunScope:
    """One run, as its hooks see it; compared by identity.

    target: None where the method uses none. background: tasks of the Reasoner; they are cancelled
    when it closes.
    """

    conversation: Conversation
    step_format: StepFormat
    target: Engine | None
    background: TaskGroup


class RunHook(Protocol):
    """Called around each run; neither call may wait or raise."""

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """The run begins. Returns how it is to be done: `config`, changed or not."""
        ...

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """The run has ended. result: None where it failed or was cancelled."""
        ...
