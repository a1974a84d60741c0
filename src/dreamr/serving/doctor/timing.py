"""Checks of cancellation, clocks and rates."""

from __future__ import annotations

import time
from contextlib import aclosing

import anyio

from dreamr.engines import Context, SamplingParams
from dreamr.serving.doctor import fixes
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.model import MAX_TOKENS, ModelUnderTest

_CANCEL_SECONDS = 2.0  # time in which a server must stop after a stream was closed
_MAX_CLOCK_SKEW = 2.0  # seconds; servers report whole seconds


async def check_cancellation(tested: ModelUnderTest) -> Finding:
    """Close a stream early and wait until the server runs no more requests than before it."""
    about, engine = "cancellation", tested.http
    before = None if engine is None else await engine.running()
    stream = tested.model.engine.stream(Context(tested.talk), SamplingParams(max_tokens=100_000))
    async with aclosing(stream):
        if await anext(stream, None) is None:
            return Finding(about, "unknown", "not tried: the model wrote nothing")
    if engine is None:
        return Finding(
            about, "ok", "a stream was closed early; the local engine stops within one token"
        )
    if before is None:
        return Finding(
            about,
            "unknown",
            "a stream was closed early; the server does not report its running requests",
            fixes.REPORT_RUNNING,
        )
    since = time.monotonic()
    while time.monotonic() - since < _CANCEL_SECONDS:
        if (running := await engine.running()) is not None and running <= before:
            took = time.monotonic() - since
            left = f"no more requests than before ({before})" if before else "no request"
            return Finding(
                about,
                "ok",
                f"a stream was closed early; {took * 1000:.0f} ms later the server ran {left}",
                values={"stopped_ms": took * 1000},
            )
        await anyio.sleep(0.05)
    return Finding(
        about,
        "degraded",
        f"a stream was closed early; {_CANCEL_SECONDS:g} s later the server still ran more "
        "requests than before: other clients use it, or it finishes requests whose client has left",
        fixes.IDLE_SERVER,
    )


async def check_clock(tested: ModelUnderTest) -> Finding:
    """Compare the server's clock with this machine's: traces and logs are matched by time."""
    about, engine = "clock", tested.http
    if engine is None:
        return Finding(about, "ok", "not tried: the local engine uses the clock of this machine")
    ahead = await engine.ahead()
    if ahead is None:
        return Finding(about, "unknown", "the server's responses have no date")
    values = {"ahead_ms": ahead * 1000}
    if abs(ahead) <= _MAX_CLOCK_SKEW:
        seen = f"the clocks of server and client agree within {_MAX_CLOCK_SKEW:g} s"
        return Finding(about, "ok", seen, values=values)
    first, second = ("server", "client") if ahead > 0 else ("client", "server")
    return Finding(
        about,
        "degraded",
        f"the {first}'s clock is {abs(ahead):.0f} s ahead of the {second}'s: times in traces and "
        "server logs do not match",
        fixes.SYNCHRONIZE,
        values,
    )


async def check_rates(tested: ModelUnderTest) -> Finding:
    """Measure the decode rate on a prompt that is already cached.

    Sampled at temperature 1, so that an engine cannot reuse the tokens of the earlier answer. The
    time to the first token does not count.
    """
    drawn = SamplingParams(max_tokens=MAX_TOKENS, temperature=1.0)
    tokens, began = 0, 0.0
    async for chunk in tested.model.engine.stream(Context(tested.talk), drawn):
        if not began and chunk.tokens:
            began = time.perf_counter()
        else:
            tokens += chunk.tokens
    if tokens:
        tested.seconds = (time.perf_counter() - began) / tokens
    if not tested.seconds:
        return Finding("rates", "unknown", "the model wrote too few tokens to be timed")
    parts = [
        f"decodes {1 / tested.seconds:.0f} tokens/s",
        f"first token after {tested.first * 1000:.0f} ms",
        f"judge call in {tested.judging * 1000:.0f} ms" if tested.judging is not None else "",
    ]
    values = {
        "token_ms": tested.seconds * 1000,
        "first_token_ms": tested.first * 1000,
        "judge_ms": None if tested.judging is None else tested.judging * 1000,
    }
    return Finding("rates", "ok", ", ".join(filter(None, parts)), values=values)
