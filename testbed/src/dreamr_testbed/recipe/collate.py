"""Conversion of examples to batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from dreamr_testbed.recipe.examples import IGNORE, Example
from dreamr_testbed.suites import SIDE

Batch = dict[str, torch.Tensor]


def normalized(images: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
    """Convert images of shape (SIDE, SIDE, 3) to a tensor (N, 3, SIDE, SIDE) in [-1, 1]."""
    if not images:
        return torch.zeros(0, 3, SIDE, SIDE)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1.0).contiguous()


def collate(examples: Sequence[Example], pad: int) -> Batch:
    """Pad examples to a batch.

    Args:
        examples: Examples of the batch.
        pad: Id of the padding token.

    Returns:
        Tensors by name: 'pixels' (N, 3, H, W) of the N images of all examples, in order; 'mask'
        (B, 1, T, T), True where a token attends to another; all others (B, T).
    """
    size = max(len(example) for example in examples)

    def stack(name: str, fill: float, dtype: torch.dtype) -> torch.Tensor:
        rows = [[*getattr(e, name), *[fill] * (size - len(e))] for e in examples]
        return torch.tensor(rows, dtype=dtype)

    segments = stack("segments", -1, torch.long)
    return {
        "pixels": normalized([image for example in examples for image in example.images]),
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
