"""What the engine needs of a decoder, whichever library computes it.

Two implementations: `TorchDecoder` runs transformers' own modules on any device and in any dtype;
`cpu.decoder.NumpyDecoder` computes the layers of Qwen- and Llama-like decoders in NumPy, for
float32 on a CPU. Which of them runs is decided when a model is loaded. Nothing else asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from dreamr.engines.local.forward_pass import Part


class Decoder(Protocol):
    """A model's layers, with the embedding before and the head after them."""

    @property
    def packs(self) -> bool:
        """Whether parts of several sequences share a pass.

        Then the pass reads the weights once, and each part gets what it would get alone, up to
        rounding. False for models whose layers keep a state other than keys and values of all
        tokens (recurrent layers, sliding windows): they run one part a pass.
        """
        ...

    def __call__(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """The normed hidden rows that each part wants: (rows, width), or (1, width) of the last.

        Keys and values of all rows are written to the parts' stores; the stores are not advanced.
        The stores must be different ones.

        Raises:
            Interrupted: the function given to `watch` said so.
        """
        ...

    def watch(self, interrupted: Callable[[], bool]) -> None:
        """Ask this before each layer of a pass of several rows, and stop the pass where it is true.

        Decoders that do not pack run each pass to its end: their state cannot be taken back. A GPU
        runs after the layers have been queued, so there only what is not yet queued is saved.
        """
        ...

    def embed(self, ids: list[int]) -> torch.Tensor:
        """Embedding rows of tokens: (1, n, width)."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, vocabulary) in float32, of hidden rows (rows, width)."""
        ...


def never() -> bool:
    """The default of `Decoder.watch`: every pass runs to its end."""
    return False
