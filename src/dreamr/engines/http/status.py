"""State of a server: its load and its clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dreamr.engines.http.client import Client
from dreamr.engines.http.options import HttpOptions
from dreamr.errors import EngineError, Unsupported

_RUNNING = re.compile(
    r"^(?:vllm:num_requests_running|sglang:num_running_reqs|llamacpp:requests_processing)"
    r"(?:\{[^}\n]*\})? (\d{1,9})(?:\.0*)?(?:\s|$)",
    re.MULTILINE,
)


async def running(client: Client, options: HttpOptions) -> int | None:
    """Return the number of requests that a server runs, None if its metrics do not say."""
    try:
        text = await client.text(f"{options.root}/metrics")
    except (EngineError, Unsupported):
        return None
    found = [int(number) for number in _RUNNING.findall(text)]
    return sum(found) if found else None


async def clock_offset(client: Client, options: HttpOptions) -> float | None:
    """Return how far a server's clock is ahead of ours (seconds), None if it is unknown."""
    began = datetime.now(UTC)
    reported = await client.date(f"{options.base}/models")
    if reported is None:
        return None
    if reported.tzinfo is None:
        reported = reported.replace(tzinfo=UTC)
    # Correct for the response time; the header has whole seconds, half a second low on average.
    middle = began + (datetime.now(UTC) - began) / 2
    return (reported - middle).total_seconds() + 0.5
