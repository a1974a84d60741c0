"""Hooks around the runs of a Reasoner."""

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
    """A run as its hooks see it; compared by identity.

    Attributes:
        conversation: The problem as the target gets it: texts, images and sounds.
        step_format: How steps end and how an answer is marked.
        target: Engine of the target, None if the method does not use one.
        background: Task group for work after the run; closing the Reasoner cancels its tasks.
    """

    conversation: Conversation
    step_format: StepFormat
    target: Engine | None
    background: TaskGroup


class RunHook(Protocol):
    """A hook that is called before and after a run.

    Pass hooks to `Reasoner.ask`, `Reasoner.reason` or `Reasoner.stream`. Both methods run on the
    event loop of the run, so they must not block, and they must not raise. Longer work belongs in
    `RunScope.background`.

    Example:
        ```python
        class SecondsPerStep:
            def __init__(self):
                self.seconds = []

            def before_run(self, run, config):
                return config

            def after_run(self, run, result):
                if result is not None and result.steps:
                    self.seconds.append(result.seconds / len(result.steps))
        ```
    """

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """Return the configuration for the run: `config`, or a changed copy."""
        ...

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """Observe the result; None if the run failed or was canceled."""
        ...
