"""Capabilities of a local model, from what its worker has reported."""

from __future__ import annotations

from dataclasses import replace

from dreamr.engines.local.ipc import Ready
from dreamr.engines.local.options import NO_SOUND, NO_VIDEO
from dreamr.engines.protocol import Capabilities

_USUAL = Capabilities(
    logprobs=True,
    entropy=True,
    hears=False,
    hearing_problem=NO_SOUND,
    watches=False,
    watching_problem=NO_VIDEO,
)


def capabilities(ready: Ready | None) -> Capabilities:
    """Return the capabilities of a model.

    Args:
        ready: What the worker has reported. None: nothing yet, and the result is what most models
            can do.
    """
    if ready is None:
        return _USUAL
    return replace(
        _USUAL,
        images=ready.images,
        judge=ready.judges,
        image_pixels=ready.image_pixels,
        words=ready.judges,
        context=ready.context,
        device=ready.device,
        dtype=ready.dtype,
        max_images=ready.hints.max_images,
    )
