"""The checks, each on one model. They ask an engine as a run does, and believe nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

import anyio

from dreamr.conversation import Conversation
from dreamr.engines import Context, Model, SamplingParams
from dreamr.engines.http import HttpEngine
from dreamr.engines.http.route import TextRoute
from dreamr.errors import DreamrError
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.receipt import draw_receipt
from dreamr.steps import Ending, Role, Step, StepSplitter

QUESTION = "What do tea and milk cost together?"
LEAST_MASS = 0.5  # less on both labels, and the question is not understood
LEAST_CACHED = 0.5  # of a prompt that was sent before
_MOST = 256  # tokens that a model may write here
_CANCELLED_WITHIN = 2.0  # seconds
_CLOCKS_APART = 2.0  # seconds; servers tell whole ones


@dataclass(slots=True)
class ModelUnderTest:
    """A model and what was seen of it so far.

    talk: the example. text, steps, finish: what it wrote about it. seconds: a token takes; first:
    until the first; judging: a judge call of one step.
    """

    role: Role
    model: Model
    talk: Conversation = field(
        default_factory=lambda: Conversation.from_prompt(QUESTION, draw_receipt())
    )
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    finish: str | None = None
    seconds: float = 0.0
    first: float = 0.0
    judging: float | None = None

    @property
    def http(self) -> HttpEngine | None:
        """Its engine, where it is behind an address."""
        engine = self.model.engine
        return engine if isinstance(engine, HttpEngine) else None


Check: TypeAlias = Callable[[ModelUnderTest], Awaitable[Finding]]


async def run_checks(tested: ModelUnderTest) -> AsyncGenerator[Finding]:
    """All findings about one model; what they see is kept in `tested`.

    A check that fails is a finding too; after one without which nothing can be seen, no more come.
    """
    for about, check in CHECKS.items():
        if tested.role == "draft" and check in _OF_TARGETS:
            continue
        try:
            found = await check(tested)
        except DreamrError as error:
            found = Finding(about, "wrong", str(error))
        yield found
        if check is _writes and found.state == "wrong":
            return


async def _writes(tested: ModelUnderTest) -> Finding:
    """Let it write about the example, with the picture, or without where it takes none."""
    try:
        await _write(tested)
    except DreamrError as error:
        tested.talk = Conversation.from_prompt("What is 17 + 25? Think step by step.")
        await _write(tested)
        return Finding("pictures", "degraded", f"it takes none: {error}", "a model that sees")
    return Finding("pictures", "ok", "it answers a question about one")


async def _write(tested: ModelUnderTest) -> None:
    splitter = StepSplitter(tested.model.step_format)
    steps: list[Step] = []
    text, finish, since = "", None, time.perf_counter()
    sampling = SamplingParams(max_tokens=_MOST)
    async for chunk in tested.model.engine.stream(Context(tested.talk), sampling):
        if not text:
            tested.first = time.perf_counter() - since
        text, finish = text + chunk.text, chunk.finish
        steps += splitter.push(chunk.text, chunk.tokens)
    if (last := splitter.finish(truncated=finish == "length")) is not None:
        steps.append(last)
    tested.text, tested.steps, tested.finish = text, steps, finish


async def _continues(tested: ModelUnderTest) -> Finding:
    """A text that it has written, continued from its middle, must come to the same end."""
    about = "continuation"
    if (engine := tested.http) is not None:
        info = engine.server_info
        if isinstance(info.route, TextRoute):
            return Finding(
                about,
                "degraded",
                f"the chat template puts {info.inserted!r} in front of what is continued; plain "
                "completions are used instead, which take no pictures",
                "serve an instruct model, or give the server another --chat-template",
            )
    half = len(tested.steps) // 2
    begun = tuple(step.text for step in tested.steps[:half])
    if not begun:
        return Finding(about, "unknown", "it wrote a single step, which has no middle")
    sampling = SamplingParams(max_tokens=_MOST)
    stream = tested.model.engine.stream(Context(tested.talk, begun), sampling)
    again = "".join(begun) + "".join([chunk.text async for chunk in stream])
    shared = min(len(again), len(tested.text))
    if again[:shared] == tested.text[:shared]:
        return Finding(about, "ok", f"the same text comes behind {half} of its steps")
    return Finding(
        about,
        "degraded",
        "another text comes behind a part of its own; where numbers are rounded coarsely that may "
        "happen now and then",
        "serve it in float32 or bfloat16 without quantization, if texts must not depend on timing",
    )


async def _marks(tested: ModelUnderTest) -> Finding:
    """Steps must end, and answers be found."""
    about, marks = "steps", tested.model.step_format
    reasoning = [step for step in tested.steps if step.ending is not Ending.ANSWER]
    longest = max((step.tokens for step in reasoning), default=0)
    if not any(step.ending is Ending.DELIMITER for step in reasoning):
        return Finding(
            about,
            "degraded",
            f"no step ends with {marks.delimiter!r} within {_MOST} tokens, so there is nothing to "
            "judge along the way",
            "ask for steps with blank lines between them, in a system turn",
        )
    if tested.finish == "stop" and not any(s.ending is Ending.ANSWER for s in tested.steps):
        return Finding(
            about,
            "degraded",
            f"{len(reasoning)} steps, and {marks.answer_marker!r} before no answer: the last step "
            "counts as the answer",
            "--answer-marker, with what it writes there",
        )
    return Finding(about, "ok", f"{len(reasoning)} steps, of {longest} tokens at most")


async def _judges(tested: ModelUnderTest) -> Finding:
    """A step of its own and one with other numbers: is it asked in words that it answers?"""
    about = "judging"
    if not tested.model.engine.capabilities.judge:
        return Finding(
            about,
            "wrong",
            "it tells no probabilities of words, so it cannot judge",
            "a server that takes top_logprobs (vLLM, SGLang, llama.cpp), or --method target",
        )
    number = next(
        (i for i, step in enumerate(tested.steps[:-1]) if re.search(r"\d", step.text)), None
    )
    if number is None:
        return Finding(about, "unknown", "none of its steps holds a number to be changed")
    begun = tuple(step.text for step in tested.steps[:number])
    own = tested.steps[number].text
    context = Context(tested.talk, begun)
    since = time.perf_counter()
    [right] = await tested.model.engine.judge(context, [own])
    tested.judging = time.perf_counter() - since
    [wrong] = await tested.model.engine.judge(context, [_other_numbers(own)])
    seen = f"ratio {right.ratio:.2f} for its own step, {wrong.ratio:.2f} with other numbers"
    if min(right.mass, wrong.mass) < LEAST_MASS:
        return Finding(
            about,
            "wrong",
            f"only {min(right.mass, wrong.mass):.0%} of the answers begin with a label ({seen})",
            "--judge-prompt, in words that make it answer positive or negative at once",
        )
    if right.ratio - wrong.ratio < 0.2:
        return Finding(
            about,
            "degraded",
            f"it hardly tells right from wrong: {seen}",
            "--judge-prompt, or a larger target",
        )
    return Finding(about, "ok", f"{seen}; {min(right.mass, wrong.mass):.0%} on the labels")


def _other_numbers(text: str) -> str:
    rng = Random(0)

    def other(found: re.Match[str]) -> str:
        digit = found.group()
        return rng.choice([each for each in "0123456789" if each != digit])

    return re.sub(r"\d", other, text)


async def _caches(tested: ModelUnderTest) -> Finding:
    """What was sent before, picture and all, must not be computed again."""
    about, engine = "prefix cache", tested.http
    if engine is None:
        return Finding(about, "ok", "the local engine keeps what it has read")
    text = "".join(step.text for step in tested.steps[:-1]) or tested.text
    for _ in range(2):
        prompt, cached = engine.prompt_tokens, engine.cached_tokens
        await engine.judge(Context(tested.talk), [text])
    prompt, cached = engine.prompt_tokens - prompt, engine.cached_tokens - cached
    share = cached / max(1, prompt)
    if cached == 0:
        return Finding(
            about,
            "unknown",
            "the server tells of no cached tokens",
            "vLLM: --enable-prompt-tokens-details; SGLang: --enable-cache-report; without a cache "
            "each judge call reads everything again",
        )
    seen = f"{share:.0%} of {prompt} tokens that were sent before came out of it"
    if share < LEAST_CACHED:
        return Finding(about, "degraded", seen, "vLLM: a smaller --block-size, or a larger cache")
    return Finding(about, "ok", seen)


async def _cancels(tested: ModelUnderTest) -> Finding:
    """A stream that is closed must end at the server too."""
    about, engine = "cancellation", tested.http
    stream = tested.model.engine.stream(Context(tested.talk), SamplingParams(max_tokens=100_000))
    async with aclosing(stream):
        await anext(stream)
    if engine is None:
        return Finding(about, "ok", "the local engine stops within a token")
    if await engine.running() is None:
        return Finding(
            about,
            "unknown",
            "the server does not tell how many requests are running",
            "llama.cpp: --metrics; SGLang: --enable-metrics",
        )
    since = time.monotonic()
    while time.monotonic() - since < _CANCELLED_WITHIN:
        if not await engine.running():
            took = time.monotonic() - since
            return Finding(about, "ok", f"nothing runs {took * 1000:.0f} ms after a closed stream")
        await anyio.sleep(0.05)
    return Finding(
        about,
        "degraded",
        f"requests still run {_CANCELLED_WITHIN:g} s after the stream was closed: others use the "
        "server, or it goes on with what nobody waits for",
        "a proxy in between must pass on that a connection was closed",
    )


async def _clock(tested: ModelUnderTest) -> Finding:
    """Traces, keys that expire and logs of both sides are compared by their times."""
    about, engine = "clock", tested.http
    if engine is None:
        return Finding(about, "ok", "the local engine has ours")
    ahead = await engine.ahead()
    if ahead is None:
        return Finding(about, "unknown", "the server does not tell the time")
    if abs(ahead) <= _CLOCKS_APART:
        return Finding(about, "ok", "the server's is ours, to within two seconds")
    way = "ahead of" if ahead > 0 else "behind"
    return Finding(
        about,
        "degraded",
        f"the server's is {abs(ahead):.0f} s {way} ours: traces and logs will not agree",
        "set both by the network time protocol (timedatectl set-ntp true)",
    )


async def _rates(tested: ModelUnderTest) -> Finding:
    """How long things take: of a prompt that was read before, tokens that cannot be foreseen."""
    drawn = SamplingParams(max_tokens=_MOST, temperature=1.0)
    tokens, since = 0, time.perf_counter()
    async for chunk in tested.model.engine.stream(Context(tested.talk), drawn):
        tokens += chunk.tokens
    if tokens:
        tested.seconds = (time.perf_counter() - since) / tokens
    parts = [
        f"{1 / tested.seconds:.0f} tokens/s" if tested.seconds else "",
        f"first token after {tested.first * 1000:.0f} ms",
        f"a verdict in {tested.judging * 1000:.0f} ms" if tested.judging is not None else "",
    ]
    return Finding("rates", "ok", ", ".join(filter(None, parts)))


CHECKS: dict[str, Check] = {
    "pictures": _writes,
    "continuation": _continues,
    "steps": _marks,
    "judging": _judges,
    "prefix cache": _caches,
    "cancellation": _cancels,
    "clock": _clock,
    "rates": _rates,
}
_OF_TARGETS: Iterable[Check] = (_judges, _caches)
