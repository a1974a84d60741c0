"""State of a server: whether it can work, its load and its clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dreamr._messages import one_line, short_path
from dreamr.engines.http.client import Client
from dreamr.engines.http.fields import parse_json
from dreamr.engines.http.models import read_models
from dreamr.engines.http.options import HttpOptions
from dreamr.errors import EngineError, EngineLost, ModelNotFound, Unsupported

_RUNNING = re.compile(
    r"^(?:vllm:num_requests_running|sglang:num_running_reqs|llamacpp:requests_processing)"
    r"(?:\{[^}\n]*\})? (\d{1,9})(?:\.0*)?(?:\s|$)",
    re.MULTILINE,
)

_CACHE = re.compile(r"^vllm:cache_config_info\{(.*)\} ", re.MULTILINE)
_STARTED = re.compile(r"^process_start_time_seconds (\S{1,40})\s*$", re.MULTILINE)
_MOST_DIGITS = 9
_LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\.)*)"')


async def check_server(client: Client, options: HttpOptions, model: str) -> None:
    """Check that a server is able to work and lists a model.

    `/health`, where a server has it, reports whether its engine works. A server without a list of
    models only has to answer.

    Raises:
        ModelNotFound: If the server lists other models.
        EngineLost: If the server cannot be reached, denies access or serves another model.
        EngineError: If the server reports that it is not able to work.
    """
    for url in (f"{options.root}/health", f"{options.base}/models"):
        status, content = await client.once(url)
        if status >= 500:
            raise EngineError(f"{url} returned status {status}: is the server still starting?")
    if status in (401, 403):
        raise EngineLost(f"{url} denied access (status {status}): check the API key")
    if status != 200:
        return
    try:
        listed = read_models(parse_json(content, url), url)
    except EngineError:  # many proxies have no list
        return
    if listed and model not in listed:
        client.identity.deny()
        raise ModelNotFound(
            f"{options.base} serves {one_line(', '.join(sorted(listed)))} now, not "
            f"{short_path(model)}: serve the same model again"
        )


async def running(client: Client, options: HttpOptions) -> int | None:
    """Return the number of requests that a server runs, None if its metrics do not say."""
    try:
        text = await client.text(f"{options.root}/metrics")
    except (EngineError, Unsupported):
        return None
    found = [int(number) for number in _RUNNING.findall(text)]
    return sum(found) if found else None


async def read_metrics(client: Client, options: HttpOptions) -> str:
    """Return a server's metrics, empty if it has none.

    Raises:
        EngineLost: If the server cannot be reached.
    """
    try:
        status, content = await client.once(f"{options.root}/metrics")
    except EngineLost:
        raise
    except EngineError:  # too long
        return ""
    return content.decode("utf-8", "replace") if status == 200 else ""


def start_mark(metrics: str) -> str:
    """Return when a server started, as its metrics tell it; empty if they do not."""
    found = _STARTED.search(metrics)
    return found[1] if found else ""


def cache_block(metrics: str) -> int | None:
    """Return the tokens of a block of vLLM's prefix cache, as its metrics tell them.

    Returns:
        0 if the cache is off, None if the metrics do not tell.
    """
    found = _CACHE.search(metrics)
    if found is None:
        return None
    labels = dict(_LABEL.findall(found[1]))
    if labels.get("enable_prefix_caching") == "False":
        return 0
    # The first is where reuse ends; where it is not set, whole blocks are reused.
    sizes = (labels.get(name, "") for name in ("cache_hit_alignment_tokens", "block_size"))
    known = [int(size) for size in sizes if size.isdecimal() and len(size) < _MOST_DIGITS]
    return known[0] if known and known[0] else None


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
