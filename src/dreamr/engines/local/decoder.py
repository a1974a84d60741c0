"""Interface between the engine and its two decoder implementations.

`TorchDecoder` runs transformers' modules on any device and in any dtype. `cpu.decoder.NumpyDecoder`
computes the layers of Qwen- and Llama-like decoders in NumPy, with float32 weights on a CPU; passes
of many rows may multiply in bfloat16. The decoder is chosen when a model is loaded. The rest of the
engine does not depend on the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from dreamr.engines.local.forward_pass import Part


class Decoder(Protocol):
    """Embedding, layers and output head of a model."""

    @property
    def packs(self) -> bool:
        """Whether parts of several sequences can share a forward pass.

        A shared pass reads the weights once. Each part gets the same result as in a pass of its
        own, up to rounding. False for models with layers whose state is not the keys and values of
        all tokens (recurrent layers, sliding windows); they run one part per pass.
        """
        ...

    @property
    def dtype(self) -> str:
        """Type in which passes of many rows multiply, such as 'bfloat16'."""
        ...

    def __call__(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """Run parts and return the hidden rows, after the final norm, that each part requests.

        The keys and values of all rows are written to the stores of the parts. The stores are not
        advanced.

        Args:
            parts: Parts to run. Each must have a different store.

        Returns:
            One tensor per part, (rows, width), or (1, width) if only the last row is requested.

        Raises:
            Interrupted: If the function registered with `watch` returned True.
        """
        ...

    def watch(self, interrupted: Callable[[], bool]) -> None:
        """Register a function that can abort forward passes of several rows.

        Decoders that do not pack run each pass to its end, because their state cannot be restored.
        On a GPU, kernels run after the layers are queued, so an abort saves only the layers that
        are not queued yet.

        Args:
            interrupted: Called before each layer. The pass is aborted if it returns True.
        """
        ...

    def embed(self, ids: list[int]) -> torch.Tensor:
        """Return the embeddings of tokens, (1, tokens, width)."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary) in float32, of hidden rows, (rows, width)."""
        ...


def never() -> bool:
    """Return False. As default of `Decoder.watch`, it lets every pass run to its end."""
    return False
