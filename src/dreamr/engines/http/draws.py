"""Fields of a request that say how tokens are chosen, in the words of each server."""

from __future__ import annotations

from typing import Any

from dreamr.engines.http.servers import Server
from dreamr.engines.protocol import SamplingParams


def drawn(sampling: SamplingParams, server: Server) -> dict[str, Any]:
    """Return the fields of a stream.

    Parameters that the server does not take are left out; `Capabilities.sampling` says which.
    """
    body = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        **server.neutral,
    }
    for name in sampling.used:
        if name in server.sampling:
            value = getattr(sampling, name)
            body[server.sampling[name]] = _biases(value) if name == "logit_bias" else value
    if sampling.adjusts:
        body |= server.penalizing
    return body


def undrawn(server: Server) -> dict[str, Any]:
    """Return the fields of a request whose probabilities count: no draws, penalties or biases."""
    return {"temperature": 0.0, **server.neutral}


def _biases(biases: tuple[tuple[int, float], ...]) -> dict[str, float]:
    return {str(token): bias for token, bias in biases}
