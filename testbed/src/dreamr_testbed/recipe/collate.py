"""Conversion of examples to batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from dreamr_testbed.recipe.examples import IGNORE, Example


def normalized(images: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
    """Convert images of shape (H, W, 3) to a tensor (B, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1.0).contiguous()


def collate(examples: Sequence[Example], pad: int) -> dict[str, torch.Tensor]:
    """Pad examples to a batch.

    Args:
        examples: Examples of the batch.
        pad: Id of the padding token.

    Returns:
        Tensors by name: 'pixels' (B, 3, H, W); 'mask' (B, 1, T, T), True where a token attends to
        another; all others (B, T).
    """
    size = max(len(example) for example in examples)

    def stack(name: str, fill: float, dtype: torch.dtype) -> torch.Tensor:
        rows = [[*getattr(e, name), *[fill] * (size - len(e))] for e in examples]
        return torch.tensor(rows, dtype=dtype)

    segments = stack("segments", -1, torch.long)
    return {
        "pixels": normalized([example.image for example in examples]),
        "ids": stack("ids", pad, torch.long),
        "positions": stack("positions", 0, torch.long),
        "labels": stack("labels", IGNORE, torch.long),
        "weights": stack("weights", 0.0, torch.float32),
        "segments": segments,
        "marks": stack("marks", IGNORE, torch.long),
        "mask": _mask(segments, stack("cuts", 0, torch.long)),
    }


def _mask(segments: torch.Tensor, cuts: torch.Tensor) -> torch.Tensor:
    size = segments.shape[1]
    index = torch.arange(size)
    own = (segments[:, :, None] == segments[:, None, :]) & (index[None, :] <= index[:, None])
    trunk = (segments == 0)[:, None, :] & (index[None, None, :] < cuts[:, :, None])
    return (own | trunk)[:, None]
