"""Checks of the prefix cache by time and by text, since cached counts can be wrong.

A prompt that begins with a nonce cannot be in a cache. The same prompt sent again can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import anyio

from dreamr.conversation import Conversation
from dreamr.engines import Capabilities, Context
from dreamr.engines.http import HttpEngine
from dreamr.errors import ContextTooLong
from dreamr.serving.doctor import fixes
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.model import (
    ModelUnderTest,
    fresh_prompt,
    longer_prompt,
    median_seconds,
)

_CACHE = "prefix cache"
_REPETITIONS = 3
_SENTENCES = 48  # of the long prompt, about 800 tokens
_LEAST_SAVED = 0.15  # share of the time
_LEAST_PREFILL = 1.3  # first request with a long prompt / request with a short one
_NEGLIGIBLE = 0.02  # seconds; a prompt that is read faster needs no cache
_CLAIMED = 0.5  # share of cached tokens that a server claims
_GROWTHS, _GROWTH = 8, 6  # prompts of growing lengths, sentences between two
_ANSWERS, _ANSWER_TOKENS = 10, 32
_MOST_ROUNDED = 2  # answers that may differ by rounding
_QUESTIONS = tuple(
    f"What is {17 + 9 * number} + {25 + 7 * number}? Explain each step."
    for number in range(_ANSWERS)
)


@dataclass(frozen=True, slots=True)
class CacheTimes:
    """Median times of requests of one token, in seconds.

    Attributes:
        short: Repeated request with a short prompt.
        first: First request with a long prompt.
        again: The same request repeated.
        tokens: Length of the long prompt.
        claimed: Share of the tokens of the repeated request that the server reports as cached;
            None if it reports nothing.
    """

    short: float
    first: float
    again: float
    tokens: int
    claimed: float | None

    @property
    def saved(self) -> float:
        """Share of the time that the cache saves; negative if it costs time."""
        return 1 - self.again / self.first if self.first else 0.0


async def check_cache(tested: ModelUnderTest) -> Finding:
    """Compare the times of first and repeated requests with the same long prompt."""
    if tested.http is None:
        return Finding(_CACHE, "ok", "not tried: the local engine keeps its KV cache between calls")
    return cache_finding(await _measure(tested, tested.http))


def cache_finding(times: CacheTimes) -> Finding:
    """Decide from measured times whether the prefix cache works."""
    about = _CACHE
    what = (
        f"a prompt of {times.tokens} tokens takes {times.first * 1000:.0f} ms at first and "
        f"{times.again * 1000:.0f} ms repeated (medians of {_REPETITIONS})"
    )
    values = {
        "prompt_tokens": times.tokens,
        "first_ms": times.first * 1000,
        "repeated_ms": times.again * 1000,
        "short_ms": times.short * 1000,
        "saved": times.saved,
        "claimed": times.claimed,
    }
    claim = "" if times.claimed is None else f"; the server reports {times.claimed:.0%} as cached"
    if times.saved >= _LEAST_SAVED:
        seen = f"{what}: the cache saves {times.saved:.0%} of the time{claim}"
        return Finding(about, "ok", seen, values=values)
    if times.first < max(_LEAST_PREFILL * times.short, _NEGLIGIBLE):
        return Finding(
            about,
            "ok",
            f"{what}: there is nothing to save, a short prompt takes {times.short * 1000:.0f} ms",
            values=values,
        )
    if times.claimed is not None and times.claimed >= _CLAIMED:
        claim += ", which the times do not show"
    return Finding(
        about,
        "degraded",
        f"{what}: the cache saves no time, so each judge call reads the whole prompt{claim}",
        fixes.ENABLE_CACHE,
        values,
    )


async def _measure(tested: ModelUnderTest, engine: HttpEngine) -> CacheTimes:
    image = tested.talk.images[:1]
    short = fresh_prompt(0, *image)
    await tested.touch(short)
    usual = await median_seconds(_REPETITIONS, lambda: tested.touch(short))
    sentences = await _fitting(tested)
    prompts = [fresh_prompt(sentences, *image) for _ in range(_REPETITIONS)]
    waiting = iter(prompts)
    first = await median_seconds(_REPETITIONS, lambda: tested.touch(next(waiting)))
    read, cached = engine.prompt_tokens, engine.cached_tokens
    waiting = iter(prompts)
    again = await median_seconds(_REPETITIONS, lambda: tested.touch(next(waiting)))
    claimed = None
    if engine.cached_tokens > cached:
        claimed = (engine.cached_tokens - cached) / (engine.prompt_tokens - read)
    return CacheTimes(usual, first, again, await engine.count(prompts[0]), claimed)


async def _fitting(tested: ModelUnderTest) -> int:
    """Return the number of sentences of the longest prompt up to `_SENTENCES` that fits."""
    sentences = _SENTENCES
    while sentences > 1:
        try:
            await tested.touch(fresh_prompt(sentences, *tested.talk.images[:1]))
        except ContextTooLong:
            sentences //= 2
        else:
            break
    return sentences


async def check_blocks(tested: ModelUnderTest) -> Finding:
    """Return the block size of the prefix cache, measured unless the server reports it."""
    about, engine = "cache blocks", tested.http
    if engine is None:
        return Finding(about, "ok", "not tried: the local engine caches single tokens")
    if (known := engine.server_info.cache_block) is not None:
        return block_finding(known, "the server reports that ")
    prompt, counts = fresh_prompt(_GROWTH), []
    longest = 0
    for _ in range(_GROWTHS):
        before = engine.cached_tokens
        try:
            longest = await engine.count(prompt)
            await engine.judge(Context(prompt), ["Tea costs 12."])
        except ContextTooLong:
            break
        counts.append(engine.cached_tokens - before)
        prompt = longer_prompt(prompt, _GROWTH)
    hits = [count for count in counts if count > 0]
    if not hits:
        return Finding(
            about,
            "unknown",
            f"{len(counts)} prompts, each a beginning of the next, of up to {longest} tokens: the "
            "server reports no cached tokens, so its blocks are longer, or it does not count",
            fixes.REPORT_CACHED,
        )
    return block_finding(math.gcd(*hits))


def block_finding(block: int, source: str = "") -> Finding:
    """Return the finding about the blocks of a prefix cache.

    Args:
        block: Tokens of a block; 0 if there is no cache.
        source: Beginning of the text that says where the number comes from.
    """
    about, values = "cache blocks", {"block_tokens": block}
    if block == 0:
        what = f"{source}its prefix cache is off: each judge call reads the whole prompt"
        return Finding(about, "degraded", what, fixes.ENABLE_CACHE, values)
    seen = f"{source}the prefix cache works in blocks of {block} tokens"
    if block == 1:
        seen = f"{source}the prefix cache keeps prompts token by token"
    if Capabilities(cache_block=block).coarse_cache:
        what = f"{seen}: a judge call reads up to {block} tokens again"
        return Finding(about, "degraded", what, fixes.COARSE_BLOCKS, values)
    return Finding(about, "ok", seen, values=values)


async def check_answers(tested: ModelUnderTest) -> Finding:
    """Compare ten greedy answers to new prompts with those from the prefix cache.

    Rounding can change an answer now and then. If answers to uncached prompts differ as often, the
    server is not deterministic and the cache is not the cause.
    """
    about = "cached answers"
    if tested.http is None:
        return Finding(about, "ok", "not tried: the local engine keeps its KV cache between calls")
    compared, differing = await _compare(tested)
    what = (
        f"{compared - len(differing)} of {compared} greedy answers are the same from the prefix "
        "cache as without it"
    )
    values: dict[str, float | str | bool | None] = {
        "compared": compared,
        "differing": len(differing),
    }
    if len(differing) <= _MOST_ROUNDED:
        rounding = ", the others may be rounding" if differing else ""
        return Finding(about, "ok", f"{what}{rounding}", values=values)
    noisy = await _uncached_differences(tested, differing)
    if noisy is not None and 2 * noisy >= len(differing):
        return Finding(
            about,
            "degraded",
            f"{what}, but {noisy} of those also differ without the cache: the server's greedy "
            "answers are not reproducible",
            fixes.FULL_PRECISION,
            values,
        )
    return Finding(
        about,
        "wrong",
        f"{what}: the prefix cache or what works beside it changes answers",
        fixes.DISABLE_CACHE,
        values,
    )


async def _compare(tested: ModelUnderTest) -> tuple[int, list[Conversation]]:
    """Return the number of compared answers, and the prompts whose answers differ.

    Fewer than ten are compared where the time does not suffice.
    """
    compared, differing, longest = 0, [], 0.0
    for question in _QUESTIONS:
        began = anyio.current_time()
        prompt = fresh_prompt(1, *tested.talk.images[:1], question=question)
        first = await tested.write(prompt, _ANSWER_TOKENS)
        if first != await tested.write(prompt, _ANSWER_TOKENS):
            differing.append(prompt)
        compared += 1
        longest = max(longest, anyio.current_time() - began)
        if anyio.current_time() + 2 * longest > anyio.current_effective_deadline():
            break
    return compared, differing


async def _uncached_differences(tested: ModelUnderTest, prompts: list[Conversation]) -> int | None:
    """Return how many answers differ if both are written without the cache.

    None if the server has no option to leave its cache alone.
    """
    engine = tested.http
    if engine is None or not engine.server_info.server.salted:
        return None
    noisy = 0
    for prompt in prompts:
        answers = []
        for _ in range(2):
            engine.forget(prompt)
            answers.append(await tested.write(prompt, _ANSWER_TOKENS))
        noisy += answers[0] != answers[1]
    return noisy
