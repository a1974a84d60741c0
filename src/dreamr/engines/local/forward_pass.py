"""Requests for forward passes, separate from running them.

A call is a generator. It yields a `Part`, the rows to run; is sent their hidden rows or logits; and
returns its result. The code that drives the generator decides which other parts share the pass.
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
    """The next rows of one sequence in a forward pass.

    Attributes:
        embeds: Embeddings, (1, rows, width).
        positions: Positions, (axes, 1, rows), or (1, rows) if there is one axis.
        store: Keys and values of the sequence.
        mask: (1, 1, rows, store length + rows), True where attention is allowed. None means causal,
            which is correct for one row, for an empty store, and for models that do not rewind.
        extra: Additional arguments of the decoder module (DeepStack).
        last: Whether only the last row is requested.
        head: Whether logits, (rows, vocabulary), are requested instead of hidden rows.
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
        """Number of rows."""
        return int(self.embeds.shape[1])

    @property
    def is_step(self) -> bool:
        """Whether this is one row after all rows of the store, without mask or extras."""
        return self.mask is None and not self.extra and self.embeds.shape[1] == 1


class Interrupted(BaseException):
    """The forward pass was aborted because no call waits for it; no row was kept."""


Passes = Generator[Part, torch.Tensor, T]


def alone(passes: Passes[T], run: Callable[[Part], torch.Tensor]) -> T:
    """Run the forward passes of a call one after the other, each with only its own part."""
    try:
        part = next(passes)
        while True:
            part = passes.send(run(part))
    except StopIteration as end:
        result: T = end.value
        return result
