"""Checks of what a model writes: with images, continued, and in steps."""

from __future__ import annotations

import time

from dreamr.conversation import Conversation
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine
from dreamr.engines.http.routes import ChatRoute, Route
from dreamr.errors import ContextTooLong, DreamrError, Unsupported
from dreamr.serving.doctor import fixes
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.model import MAX_TOKENS, ModelUnderTest, fresh_prompt, median_seconds
from dreamr.serving.doctor.receipt import draw_receipt
from dreamr.steps import Ending, Step, StepSplitter

_REPETITIONS = 3
_WITHOUT_IMAGE = fresh_prompt(0)
_WITH_IMAGE = fresh_prompt(0, draw_receipt())
_NO_IMAGES = "At most 0 image"  # vLLM with an image limit of 0


async def check_images(tested: ModelUnderTest) -> Finding:
    """Ask about an image; if that fails, ask a question without one."""
    about = "images"
    try:
        await write_answer(tested)
    except DreamrError as error:
        tested.talk = Conversation.from_prompt("What is 17 + 25? Think step by step.")
        await write_answer(tested)
        what = f"a question about an image failed, one without an image was answered: {error}"
        return Finding(about, "degraded", what, _image_fix(tested, error))
    return Finding(about, "ok", "a question about an image was answered")


def _image_fix(tested: ModelUnderTest, error: DreamrError) -> str:
    """Return the advice after a failed request with an image.

    Only a server that says so accepts text only. A model whose route or context cannot take the
    image can see all the same.
    """
    engine = tested.http
    if engine is not None and _route(engine, _WITH_IMAGE) is None:
        return _no_route(engine)
    if isinstance(error, ContextTooLong):
        return fixes.SHRINK_IMAGES
    if isinstance(error, Unsupported) or _NO_IMAGES in str(error):
        return fixes.ENABLE_VISION
    return fixes.READ_LOG


async def write_answer(tested: ModelUnderTest) -> None:
    """Write the answer to the example conversation, and note its steps and times."""
    splitter = StepSplitter(tested.model.format_of(tested.talk))
    steps: list[Step] = []
    text, finish, since = "", None, time.perf_counter()
    sampling = SamplingParams(max_tokens=MAX_TOKENS)
    async for chunk in tested.model.engine.stream(Context(tested.talk), sampling):
        if not text:
            tested.first = time.perf_counter() - since
        text, finish = text + chunk.text, chunk.finish
        steps += splitter.push(chunk.text, chunk.tokens)
    if (last := splitter.finish(truncated=finish == "length")) is not None:
        steps.append(last)
    tested.text, tested.steps, tested.finish = text, steps, finish


async def check_image_cost(tested: ModelUnderTest) -> Finding:
    """Measure what an image adds to a request: bytes, prompt tokens and time."""
    about, engine = "image cost", tested.model.engine
    if not tested.talk.images:
        return Finding(about, "unknown", "not tried: the model answered no question about an image")
    with_image, plain = fresh_prompt(0, draw_receipt()), fresh_prompt(0)
    served = tested.http
    sent = served.sent_bytes if served else 0
    first = await tested.touch(with_image)
    size = (served.sent_bytes if served else 0) - sent
    again = await median_seconds(_REPETITIONS, lambda: tested.touch(with_image))
    await tested.touch(plain)
    text = await median_seconds(_REPETITIONS, lambda: tested.touch(plain))
    tokens = await engine.count(with_image) - await engine.count(plain)
    image = draw_receipt()
    what = (
        f"an image of {image.width} x {image.height} pixels adds {tokens} prompt tokens; a request "
        f"with it takes {first * 1000:.0f} ms at first and {again * 1000:.0f} ms repeated, one "
        f"without an image {text * 1000:.0f} ms"
    )
    if size:
        what += f"; {size / 1024:.0f} KiB are sent"
    values = {
        "prompt_tokens": tokens,
        "sent_bytes": size,
        "first_ms": first * 1000,
        "repeated_ms": again * 1000,
        "without_ms": text * 1000,
    }
    return Finding(about, "ok", what, values=values)


async def check_route(tested: ModelUnderTest) -> Finding:
    """Name the route by which the server continues the assistant's text and thoughts."""
    about, engine = "route", tested.http
    if engine is None:
        return Finding(about, "ok", "the local engine continues any text token by token")
    info = engine.server_info
    text, image = _route(engine, _WITHOUT_IMAGE), _route(engine, _WITH_IMAGE)
    names = {"text": _name(text), "images": _name(image)}
    context = f"context of {info.context} tokens" if info.context else "context length unknown"
    what = [
        f"{info.server.name}, {context}",
        f"route for text: {names['text'] or 'none'}, with images: {names['images'] or 'none'}",
        "the chat template opens a thought" if info.opens_thought else "no thought is opened",
    ]
    if info.quiet_about_images:
        what.append("the model thinks about text, and not about images")
    if isinstance(text, ChatRoute):
        inside = text.asking == "inside"
        what.append(
            "the judge prompt is " + ("in the answer" if inside else "the user's next turn")
        )
    if info.inserted is not None:
        what.append(f"in chat the template inserts {info.inserted!r} before a continued answer")
    values = {**names, "thinking": info.opens_thought, "context": info.context}
    if image is None:
        return Finding(about, "degraded", "; ".join(what), _no_route(engine), values)
    return Finding(about, "ok", "; ".join(what), None, values)


def _route(engine: HttpEngine, conversation: Conversation) -> Route | None:
    """Return the route that a conversation takes, None if none takes it."""
    try:
        return engine.server_info.route_for(conversation)
    except Unsupported:
        return None


def _no_route(engine: HttpEngine) -> str:
    """Return the advice for a server that no route leads to with an image."""
    blind = engine.server_info.sees is False
    return fixes.ENABLE_VISION if blind else fixes.ROUTE_WITHOUT_IMAGES


def _name(route: Route | None) -> str | None:
    return None if route is None else route.name


async def check_continuation(tested: ModelUnderTest) -> Finding:
    """Continue the model's answer from its middle and compare the texts."""
    about = "continuation"
    half = len(tested.steps) // 2
    begun = tuple(step.text for step in tested.steps[:half])
    if not begun:
        return Finding(
            about,
            "unknown",
            "continuing an answer was not tried: the answer has a single step",
            fixes.ASK_FOR_STEPS,
        )
    sampling = SamplingParams(max_tokens=MAX_TOKENS)
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
        fixes.FULL_PRECISION,
    )


async def check_steps(tested: ModelUnderTest) -> Finding:
    """Check that the answer splits into steps and that its end is marked."""
    about, marks = "steps", tested.model.step_format
    reasoning = tested.reasoning
    longest = max((step.tokens for step in reasoning), default=0)
    if not any(step.ending is Ending.DELIMITER for step in reasoning):
        return Finding(
            about,
            "degraded",
            f"no step of an answer of up to {MAX_TOKENS} tokens ends with {marks.delimiter!r}: "
            "there is nothing to judge before the answer",
            fixes.ASK_FOR_STEPS,
        )
    if tested.finish == "stop" and not any(s.ending is Ending.ANSWER for s in tested.steps):
        return Finding(
            about,
            "degraded",
            f"an answer of {len(reasoning)} steps does not contain {marks.answer_marker!r}: its "
            "last step is taken as the answer",
            fixes.SET_MARKER,
        )
    return Finding(
        about,
        "ok",
        f"an answer splits into {len(reasoning)} steps of at most {longest} tokens",
        values={"steps": len(reasoning), "longest_tokens": longest},
    )
