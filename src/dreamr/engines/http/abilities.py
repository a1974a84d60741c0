"""Capabilities of a server, from what the probe found."""

from __future__ import annotations

from dreamr._families import recognize
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.protocol import Capabilities

# Smallest label mass that counts as an answer. Many models that are served were never trained on
# the judge prompt; if they answer something else, what is left on the labels is noise.
_MIN_LABEL_MASS = 0.5
# Tokens of a block of a hybrid model's prefix cache where the server does not tell: about that of
# Qwen3.5-4B in vLLM.
_HYBRID_BLOCK = 528


def capabilities(info: ServerInfo, image_pixels: int | None) -> Capabilities:
    """Return the capabilities of a server.

    Images count as supported until the server refuses one. Whether it takes sounds or video files
    is unknown until the first one.

    Args:
        info: Results of the probe.
        image_pixels: Number of pixels to which larger images are shrunk.
    """
    return Capabilities(
        judge=info.judges,
        logprobs=info.judges and not info.speculates,
        image_pixels=image_pixels,
        independent=True,
        judge_problem=info.judge_problem,
        sampling=frozenset(info.server.sampling),
        context=info.context,
        margins=info.margins,
        entropy=info.judges and not info.speculates,
        min_label_mass=_MIN_LABEL_MASS,
        cache_block=_cache_block(info),
        windows=info.window is not None,
        window_problem=info.window_problem,
        kind=info.server.name,
        hears=None if info.hearing is None else not info.hearing.problem,
        hearing_problem="" if info.hearing is None else info.hearing.problem,
        watches=None if info.watching is None else not info.watching.problem,
        watching_problem="" if info.watching is None else info.watching.problem,
    )


def _cache_block(info: ServerInfo) -> int | None:
    """Return the tokens of a block of the prefix cache; None if unknown."""
    if info.cache_block is None and recognize(info.model).hybrid:
        return _HYBRID_BLOCK
    return info.cache_block
