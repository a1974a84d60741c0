"""Checks of one model. Each uses the engine the same way as a run does."""

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
from dreamr.engines.http.selection import image_conversations
from dreamr.errors import DreamrError
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.receipt import draw_receipt
from dreamr.steps import Ending, Role, Step, StepSplitter

QUESTION = "What do tea and milk cost together?"
LEAST_MASS = 0.5  # probability of both labels below which the judge prompt does not work
LEAST_CACHED = 0.5  # share of a repeated prompt that must come from the prefix cache
_MAX_TOKENS = 256  # per answer
_CANCEL_SECONDS = 2.0  # time in which a server must stop after a stream was closed
_MAX_CLOCK_SKEW = 2.0  # seconds; servers report whole seconds
_ASK_FOR_STEPS = "ask for steps separated by blank lines in a system message"


@dataclass(slots=True)
class ModelUnderTest:
    """A model and the measurements of the checks so far.

    Attributes:
        role: Role of the model in the pair.
        model: Engine and step format.
        talk: Example conversation that the checks use.
        text: The model's answer to it.
        steps: Steps of that answer.
        finish: Finish reason of that answer.
        seconds: Time per decoded token in seconds; 0 if not measured.
        first: Time to the first token in seconds.
        judging: Time of a judge call of one step in seconds; None if not measured.
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
        """The engine if it is a server, else None."""
        engine = self.model.engine
        return engine if isinstance(engine, HttpEngine) else None


Check: TypeAlias = Callable[[ModelUnderTest], Awaitable[Finding]]


async def run_checks(tested: ModelUnderTest) -> AsyncGenerator[Finding]:
    """Run all checks on one model.

    A check that raises an error is a finding too. If the model cannot write at all, the remaining
    checks are skipped.

    Args:
        tested: Model to check; measurements are stored in it.

    Yields:
        One finding per check.
    """
    for about, check in CHECKS.items():
        if tested.role == "draft" and check in _TARGET_CHECKS:
            continue
        try:
            found = await check(tested)
        except DreamrError as error:
            found = Finding(about, "wrong", f"{_TRIED[about]} failed: {error}")
        yield found
        if check is _writes and found.state == "wrong":
            return


async def _writes(tested: ModelUnderTest) -> Finding:
    """Ask about an image; if the model rejects it, ask a question without one."""
    try:
        await _write(tested)
    except DreamrError as error:
        tested.talk = Conversation.from_prompt("What is 17 + 25? Think step by step.")
        await _write(tested)
        return Finding(
            "images",
            "degraded",
            f"a question about an image failed, one without an image was answered: {error}",
            "use a model that accepts images, unless all prompts are text",
        )
    return Finding("images", "ok", "a question about an image was answered")


async def _write(tested: ModelUnderTest) -> None:
    splitter = StepSplitter(tested.model.step_format)
    steps: list[Step] = []
    text, finish, since = "", None, time.perf_counter()
    sampling = SamplingParams(max_tokens=_MAX_TOKENS)
    async for chunk in tested.model.engine.stream(Context(tested.talk), sampling):
        if not text:
            tested.first = time.perf_counter() - since
        text, finish = text + chunk.text, chunk.finish
        steps += splitter.push(chunk.text, chunk.tokens)
    if (last := splitter.finish(truncated=finish == "length")) is not None:
        steps.append(last)
    tested.text, tested.steps, tested.finish = text, steps, finish


async def _continues(tested: ModelUnderTest) -> Finding:
    """Continue the model's answer from its middle and compare the texts."""
    about = "continuation"
    if (engine := tested.http) is not None:
        info = engine.server_info
        if not any(route.takes(talk) for talk in image_conversations() for route in info.routes):
            return Finding(
                about,
                "degraded",
                f"the chat template inserts {info.inserted!r} before a continued answer; the "
                "engine uses plain completions instead, which take no images",
                "serve an instruct model, or start the server with another --chat-template",
            )
    half = len(tested.steps) // 2
    begun = tuple(step.text for step in tested.steps[:half])
    if not begun:
        return Finding(
            about,
            "unknown",
            "continuing an answer was not tried: the answer has a single step",
            _ASK_FOR_STEPS,
        )
    sampling = SamplingParams(max_tokens=_MAX_TOKENS)
    stream = tested.model.engine.stream(Context(tested.talk, begun), sampling)
    again = "".join(begun) + "".join([chunk.text async for chunk in stream])
    shared = min(len(again), len(tested.text))
    tried = f"the model continued its own answer after {half} of {len(tested.steps)} steps"
    if again[:shared] == tested.text[:shared]:
        return Finding(about, "ok", f"{tried} and wrote the same text")
    return Finding(
        about,
        "degraded",
        f"{tried} and wrote another text; coarse rounding causes this now and then",
        "serve the model in float32 or bfloat16 without quantization if texts must be reproducible",
    )


async def _marks(tested: ModelUnderTest) -> Finding:
    """Check that the answer splits into steps and that its end is marked."""
    about, marks = "steps", tested.model.step_format
    reasoning = [step for step in tested.steps if step.ending is not Ending.ANSWER]
    longest = max((step.tokens for step in reasoning), default=0)
    if not any(step.ending is Ending.DELIMITER for step in reasoning):
        return Finding(
            about,
            "degraded",
            f"no step of an answer of up to {_MAX_TOKENS} tokens ends with {marks.delimiter!r}: "
            "there is nothing to judge before the answer",
            _ASK_FOR_STEPS,
        )
    if tested.finish == "stop" and not any(s.ending is Ending.ANSWER for s in tested.steps):
        return Finding(
            about,
            "degraded",
            f"an answer of {len(reasoning)} steps does not contain {marks.answer_marker!r}: its "
            "last step is taken as the answer",
            "set --answer-marker to the text that the model writes before its answer",
        )
    return Finding(
        about, "ok", f"an answer splits into {len(reasoning)} steps of at most {longest} tokens"
    )


async def _judges(tested: ModelUnderTest) -> Finding:
    """Judge one of the model's own steps, and the same step with other numbers."""
    about = "judging"
    if not tested.model.engine.capabilities.judge:
        return Finding(
            about,
            "wrong",
            "the server returns no token probabilities, so the model cannot judge",
            "use a server that supports top_logprobs (vLLM, SGLang, llama.cpp), or --method target",
        )
    number = next(
        (i for i, step in enumerate(tested.steps[:-1]) if re.search(r"\d", step.text)), None
    )
    if number is None:
        return Finding(
            about,
            "unknown",
            "judging was not tried: no step of the answer contains a number that could be changed",
        )
    begun = tuple(step.text for step in tested.steps[:number])
    own = tested.steps[number].text
    context = Context(tested.talk, begun)
    since = time.perf_counter()
    [right] = await tested.model.engine.judge(context, [own])
    tested.judging = time.perf_counter() - since
    [wrong] = await tested.model.engine.judge(context, [_other_numbers(own)])
    seen = (
        f"judge ratio {right.ratio:.2f} for the model's own step, {wrong.ratio:.2f} for the same "
        "step with other numbers"
    )
    if min(right.mass, wrong.mass) < LEAST_MASS:
        return Finding(
            about,
            "wrong",
            f"{seen}; the two labels have only {min(right.mass, wrong.mass):.0%} of the "
            "probability, so the model does not answer the judge prompt",
            "set --judge-prompt to a question that the model answers with positive or negative",
        )
    if right.ratio - wrong.ratio < 0.2:
        return Finding(
            about,
            "degraded",
            f"{seen}; the model hardly distinguishes right from wrong steps",
            "set another --judge-prompt, or use a larger target",
        )
    return Finding(
        about, "ok", f"{seen}; {min(right.mass, wrong.mass):.0%} of the probability on the labels"
    )


def _other_numbers(text: str) -> str:
    rng = Random(0)

    def other(found: re.Match[str]) -> str:
        digit = found.group()
        return rng.choice([each for each in "0123456789" if each != digit])

    return re.sub(r"\d", other, text)


async def _caches(tested: ModelUnderTest) -> Finding:
    """Judge the same text twice and measure how much of the prompt the server had cached."""
    about, engine = "prefix cache", tested.http
    if engine is None:
        return Finding(about, "ok", "not tried: the local engine keeps its KV cache between calls")
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
            "the same text was judged twice; the server reported no cached tokens, so each judge "
            "call may prefill the whole prompt",
            "start vLLM with --enable-prompt-tokens-details, SGLang with --enable-cache-report",
        )
    seen = f"the same text was judged twice; {share:.0%} of {prompt} prompt tokens were cached"
    if share < LEAST_CACHED:
        return Finding(
            about,
            "degraded",
            seen,
            "start vLLM with a smaller --block-size, or give the server a larger KV cache",
        )
    return Finding(about, "ok", seen)


async def _cancels(tested: ModelUnderTest) -> Finding:
    """Close a stream early and wait until the server stops working on it."""
    about, engine = "cancellation", tested.http
    stream = tested.model.engine.stream(Context(tested.talk), SamplingParams(max_tokens=100_000))
    async with aclosing(stream):
        await anext(stream)
    if engine is None:
        return Finding(
            about, "ok", "a stream was closed early; the local engine stops within one token"
        )
    if await engine.running() is None:
        return Finding(
            about,
            "unknown",
            "a stream was closed early; the server does not report its running requests",
            "start llama.cpp with --metrics, SGLang with --enable-metrics",
        )
    since = time.monotonic()
    while time.monotonic() - since < _CANCEL_SECONDS:
        if not await engine.running():
            took = time.monotonic() - since
            return Finding(
                about,
                "ok",
                f"a stream was closed early; {took * 1000:.0f} ms later the server ran no request",
            )
        await anyio.sleep(0.05)
    return Finding(
        about,
        "degraded",
        f"a stream was closed early; {_CANCEL_SECONDS:g} s later the server still ran requests: "
        "other clients use it, or it finishes requests whose client has left",
        "repeat the check on an idle server; a proxy must close its connection to the server too",
    )


async def _clock(tested: ModelUnderTest) -> Finding:
    """Compare the server's clock with this machine's: traces and logs are matched by time."""
    about, engine = "clock", tested.http
    if engine is None:
        return Finding(about, "ok", "not tried: the local engine uses the clock of this machine")
    ahead = await engine.ahead()
    if ahead is None:
        return Finding(about, "unknown", "the server's responses have no date")
    if abs(ahead) <= _MAX_CLOCK_SKEW:
        return Finding(
            about, "ok", f"the clocks of server and client agree within {_MAX_CLOCK_SKEW:g} s"
        )
    first, second = ("server", "client") if ahead > 0 else ("client", "server")
    return Finding(
        about,
        "degraded",
        f"the {first}'s clock is {abs(ahead):.0f} s ahead of the {second}'s: times in traces and "
        "server logs do not match",
        "synchronize both machines by NTP (timedatectl set-ntp true)",
    )


async def _rates(tested: ModelUnderTest) -> Finding:
    """Measure the decode rate on a prompt that is already cached.

    Sampled at temperature 1, so that an engine cannot reuse the tokens of the earlier answer.
    """
    drawn = SamplingParams(max_tokens=_MAX_TOKENS, temperature=1.0)
    tokens, since = 0, time.perf_counter()
    async for chunk in tested.model.engine.stream(Context(tested.talk), drawn):
        tokens += chunk.tokens
    if tokens:
        tested.seconds = (time.perf_counter() - since) / tokens
    parts = [
        f"decodes {1 / tested.seconds:.0f} tokens/s" if tested.seconds else "",
        f"first token after {tested.first * 1000:.0f} ms",
        f"judge call in {tested.judging * 1000:.0f} ms" if tested.judging is not None else "",
    ]
    return Finding("rates", "ok", ", ".join(filter(None, parts)))


CHECKS: dict[str, Check] = {
    "images": _writes,
    "continuation": _continues,
    "steps": _marks,
    "judging": _judges,
    "prefix cache": _caches,
    "cancellation": _cancels,
    "clock": _clock,
    "rates": _rates,
}
_TARGET_CHECKS: Iterable[Check] = (_judges, _caches)
# Subjects of "... failed: ERROR".
_TRIED = {
    "images": "answering a question",
    "continuation": "continuing an answer",
    "steps": "splitting an answer into steps",
    "judging": "judging a step",
    "prefix cache": "judging the same text twice",
    "cancellation": "closing a stream early",
    "clock": "reading the server's clock",
    "rates": "timing an answer",
}
