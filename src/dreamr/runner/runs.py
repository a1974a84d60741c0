"""Start a run and iterate over its events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import anyio

from dreamr.conversation import Conversation, Text
from dreamr.engines import AnswersInForm, Capabilities, Engine
from dreamr.errors import DeadlinePassed, RunFailed, Unsupported
from dreamr.gate import Gate, with_min_mass
from dreamr.runner.answering import may_call
from dreamr.runner.config import RunConfig
from dreamr.runner.driver import Driver
from dreamr.runner.requirements import (
    check_answer_form,
    check_conversations,
    check_engines,
    prepare_engines,
)
from dreamr.runner.run_time import run_time
from dreamr.runner.signal_queue import SignalQueue
from dreamr.schedules import (
    AnswerWriter,
    Commit,
    JudgeBatch,
    Schedule,
    TextLimits,
    by_name,
    method,
)
from dreamr.steps import Role
from dreamr.trace import Event, Result, RunFinished

# A prompt below this many tokens takes a server about as long as one more token: not worth a
# request of its own before the first judge call.
_LONG_PROMPT = 256
_CHARACTERS, _PIXELS = 4, 1024  # of a token, about
_VIDEO = 1024  # tokens of a video file, at least about
_SECOND = 13  # tokens of a second of sound, at least about
_WINDOW_STEPS = 4  # steps that usually wait for verdicts


@asynccontextmanager
async def open_run(
    conversation: Conversation,
    *,
    target: Engine | None,
    draft: Engine | None = None,
    config: RunConfig | None = None,
) -> AsyncGenerator[AsyncIterator[Event], None]:
    """Start a run and yield an iterator over its events; the last is `RunFinished`.

    Leaving the block cancels all work that is still running. The run never waits for its consumer.
    The engines stay open and may serve several runs concurrently.

    Example:
        ```python
        async with open_run(conversation, target=target, draft=draft) as events:
            async for event in events:
                print(event)
        ```

    Args:
        conversation: The problem.
        target: Engine of the target; None if the method does not use one.
        draft: Engine of the draft; None if the method does not use one.
        config: Configuration of the run; defaults if None.

    Raises:
        DeadlinePassed: If the run missed a deadline with `on_deadline` 'error'; likewise.
        RunFailed: If the target was lost or stalled. Raised by the iterator after `RunFinished`;
            its `result` is the Result so far.
        Unsupported: If the method is unknown, a model that it needs is missing, a model does not
            report what the gate needs, the problem has more images than the target reads, or the
            target cannot write the answer in the form that is demanded.
    """
    config = config or RunConfig()
    engines = _engines(target, draft, config.method)
    check_engines(config, engines)
    # Engines see texts, images and sounds only, and the models may see different frames.
    seen = {role: config.seen_by(role, conversation) for role in engines}
    with run_time(config.deadline) as time:
        await prepare_engines(seen, engines)
        check_conversations(seen, engines)
        check_answer_form(config, seen, engines)
        leading: Role = "target" if "target" in engines else "draft"
        config = _for_engines(config, engines, _prompt_tokens(seen[leading]))
        config = _with_text_limits(config)
        config, schedule = await _planned(config, seen, engines)
        config = replace(config, deadline=time.begin())
    queue = SignalQueue[Event]()
    driver = Driver(seen, engines, schedule, config, queue.put)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(driver.drive)
        try:
            async with aclosing(_until_finished(queue)) as events:
                yield events
        except Exception as error:  # the task group would wrap it in an exception group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _planned(
    config: RunConfig, seen: Mapping[Role, Conversation], engines: Mapping[Role, Engine]
) -> tuple[RunConfig, Schedule]:
    """Return the configuration and the schedule of a run."""
    schedule = by_name(config.method, config.options)
    target, form = engines.get("target"), config.answer_form
    if not isinstance(target, AnswersInForm) or not form.shapes(seen["target"]):
        return config, schedule
    whole = await target.form_problem(seen["target"], form)
    calls = may_call(form, tools=bool(seen["target"].tools))
    config = replace(config, pass_through=whole)
    return config, AnswerWriter(schedule, config.options, calls=calls, whole=whole)


async def run(
    conversation: Conversation,
    *,
    target: Engine | None,
    draft: Engine | None = None,
    config: RunConfig | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Result:
    """Run to the end and return the result.

    Args:
        conversation: The problem.
        target: Engine of the target; None if the method does not use one.
        draft: Engine of the draft; None if the method does not use one.
        config: Configuration of the run; defaults if None.
        on_event: Called with each event as it happens.

    Raises:
        DeadlinePassed: If the run missed a deadline with `on_deadline` 'error'; likewise.
        RunFailed: If the target was lost or stalled; its `result` is the Result so far.
        Unsupported: See `open_run`.
    """
    async with open_run(conversation, target=target, draft=draft, config=config) as events:
        async for event in events:
            if on_event is not None:
                on_event(event)
    assert isinstance(event, RunFinished)
    return event.result


async def _until_finished(queue: SignalQueue[Event]) -> AsyncGenerator[Event, None]:
    """Yield the events up to `RunFinished`, then raise the failure if the run failed."""
    while True:
        event = await queue.get()
        yield event
        if isinstance(event, RunFinished):
            result = event.result
            if result.error is not None:
                missed = result.finish == "deadline"
                raise (DeadlinePassed if missed else RunFailed)(result.error, result)
            return


def _for_engines(config: RunConfig, engines: Mapping[Role, Engine], prompt: float) -> RunConfig:
    """Return the configuration with the options that depend on the engines and the prompt.

    Args:
        config: Configuration of the run.
        engines: Engines by role.
        prompt: Estimated number of tokens of the prompt.
    """
    options = replace(config.options, prefill=config.options.prefill and prompt >= _LONG_PROMPT)
    config = replace(
        config, options=options, notes=(*config.notes, *_unused_sampling(config, engines))
    )
    if "target" not in engines:
        return config
    able = engines["target"].capabilities
    options = replace(options, independent=able.independent)
    if options.judge_batch == "auto":
        options = replace(options, judge_batch=_judge_batch(able, config.gate, prompt))
    gate = with_min_mass(config.gate, able.min_label_mass)
    return replace(config, options=options, gate=gate)


def _judge_batch(able: Capabilities, gate: Gate, prompt: float) -> JudgeBatch:
    """Return what a judge call is about, for 'auto'."""
    # Margins of a window cost as much as those of one step: the prompt is read again.
    if not able.independent or gate.query.margins:
        return "window"
    if not (able.windows and able.coarse_cache):
        return "step"
    # The request about a window reads the whole prompt, one about a step on average half a block.
    cheaper = not able.cache_block or prompt <= _WINDOW_STEPS / 2 * able.cache_block
    return "window" if cheaper else "step"


def _prompt_tokens(conversation: Conversation) -> float:
    """Estimate the number of tokens of a conversation."""
    texts = (p.text for turn in conversation.turns for p in turn.parts if isinstance(p, Text))
    pixels = sum(image.width * image.height for image in conversation.images)
    videos = _VIDEO * len(conversation.video_files)
    sounds = _SECOND * sum(audio.seconds for audio in conversation.sounds)
    return sum(map(len, texts)) / _CHARACTERS + pixels / _PIXELS + videos + sounds


def _with_text_limits(config: RunConfig) -> RunConfig:
    """Return the configuration with the limits of thoughts and of repetition."""
    if config.leads:
        step_format = replace(config.step_format, opens_thought=False)
        config = replace(config, step_format=step_format)
    marks = config.step_format
    text = TextLimits(
        config.thinking_budget, marks.opens_thought, marks.closing, marks.answer_marker
    )
    hurries = config.deadline is not None and config.deadline.on_deadline == "best"
    committed = tuple(
        Commit(position, one.step, one.source, one.verdict)
        for position, one in enumerate(config.committed)
    )
    options = replace(config.options, text=text, hurries=hurries, committed=committed)
    return replace(config, options=options)


def _unused_sampling(config: RunConfig, engines: Mapping[Role, Engine]) -> Iterator[str]:
    """Yield a note for each engine that does not take a parameter of its sampling."""
    for role, engine in engines.items():
        taken = engine.capabilities.sampling
        unused = [name for name in config.sampling_of(role).used if name not in taken]
        if unused:
            yield f"{', '.join(unused)} without effect: not taken by the {role} {engine.name}"


def _engines(target: Engine | None, draft: Engine | None, name: str) -> dict[Role, Engine]:
    """Return the engines that the method uses."""
    used = method(name)
    given: dict[Role, Engine | None] = {"draft": draft, "target": target}
    engines: dict[Role, Engine] = {}
    for role in used.roles:
        if (engine := given[role]) is None:
            raise Unsupported(f"method {name!r} needs a {role} model")
        engines[role] = engine
    return engines
