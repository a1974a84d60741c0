"""A call in the worker between its forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dreamr.engines.local.forward_pass import Part, Passes
from dreamr.engines.local.session import Session


@dataclass(slots=True, eq=False)
class Job:
    """A call that takes part in forward passes.

    Attributes:
        call: Number of the call.
        session: Session of its conversation.
        passes: Generator of its passes.
        done: Called with its result.
        leave: Called if it fails or is canceled.
        part: What it requests of the next pass; None once it is complete.
    """

    call: int
    session: Session
    passes: Passes[Any]
    done: Callable[[Any], None]
    leave: Callable[[], None]
    part: Part | None = None

    def resume(self, rows: torch.Tensor | None) -> None:
        """Run the call up to its next pass or its end.

        Args:
            rows: Result of its last pass; None to start.
        """
        try:
            # A generator is started with None, which its type does not include.
            self.part = self.passes.send(rows)  # type: ignore[arg-type]
        except StopIteration as end:
            self.part = None
            self.done(end.value)
