"""What a call wants of a forward pass, said without running one.

A call is a generator of parts: it yields the rows that it wants to be run, is sent what became of
them, and returns its result. Whoever drives it decides what else is in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from dreamr.engines.local.kv_cache import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The next rows of one sequence; `store` is that sequence's own.

    embeds: (1, rows, width). positions: (axes, 1, rows), or (1, rows) where axes is 1. mask:
    (1, 1, rows, store length + rows), True where attention is allowed; None means causal, which is
    enough for one row, for an empty store, and for models that do not rewind. extra: further
    arguments of the decoder module (DeepStack). last: only the last row is wanted. head: logits are
    wanted, (rows, vocabulary), in place of hidden rows.
    """

    embeds: torch.Tensor
    positions: torch.Tensor
    store: Store
    mask: torch.Tensor | None
    extra: dict[str, Any] = field(default_factory=dict)
    last: bool = False
    head: bool = False

    @property
    def rows(self) -> int:
        return int(self.embeds.shape[1])

    @property
    def is_step(self) -> bool:
        """Whether it is one row behind everything that is in the store, and nothing else."""
        return self.mask is None and not self.extra and self.embeds.shape[1] == 1


class Interrupted(BaseException):
    """Nobody waits any more for any part of the pass under way; nothing of it was kept."""


Passes = Generator[Part, torch.Tensor, T]


def alone(passes: Passes[T], run: Callable[[Part], torch.Tensor]) -> T:
    """Give a call its passes one after the other, with nothing else in them."""
    try:
        part = next(passes)
        while True:
            part = passes.send(run(part))
    except StopIteration as end:
        result: T = end.value
        return result
