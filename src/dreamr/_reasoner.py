"""The public face: a pair of models, ready to be asked."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr.conversation import Conversation, ImageSource, read_image
from dreamr.engines import Engine
from dreamr.errors import DreamrError, RunFailed, Unsupported
from dreamr.runner import run
from dreamr.serving.drift import Watch
from dreamr.serving.tuning import Shown, Tuner, kind_of
from dreamr.steps import StepFormat
from dreamr.trace import Event, Result, Role


@dataclass(frozen=True, slots=True)
class Model:
    """An engine, and how its model marks steps and answers; the target's marks hold for a run."""

    engine: Engine
    step_format: StepFormat = field(default_factory=StepFormat)


OpenModel: TypeAlias = Callable[[Role, RunOptions], Awaitable[Model]]


_PAIR = Path(__file__).parents[2] / "testbed/src/dreamr_testbed/pair"
EMBEDDED = {"embedded": "draft", "embedded-before-sapo": "draft-before-sapo"}


def local_model(role: Role, options: RunOptions) -> str:
    """Folder or hub id of the model that the options name for a role, or of the embedded one.

    A draft of the embedded pair can be named too: the one that ships, or the one before SAPO.
    """
    chosen = options.target if role == "target" else options.draft
    if role == "draft" and chosen in EMBEDDED:
        return str(_PAIR / EMBEDDED[chosen])
    return chosen or str(_PAIR / role)


async def open_any(role: Role, options: RunOptions) -> Model:
    """Reach the model that the options name for a role: behind an address, or in a process of ours.

    Raises:
        ModelNotFound: there is no such model, or no server.
        Unsupported: what local models need is not installed.
        EngineError: a server that cannot be built upon.
    """
    name = options.target if role == "target" else options.draft
    if name is not None and name.startswith(("http://", "https://")):
        return await _open_served(role, options)
    return await _open_local(role, options)


async def _open_served(role: Role, options: RunOptions) -> Model:
    # Imported where it is used: every command would else wait for it.
    from dreamr.engines.http import HttpEngine, HttpOptions

    of_target = role == "target"
    engine = await HttpEngine.open(
        HttpOptions(
            url=str(options.target if of_target else options.draft),
            model=options.target_model if of_target else options.draft_model,
            api_key=os.environ.get(f"DREAMR_{role.upper()}_API_KEY")
            or os.environ.get("DREAMR_API_KEY"),
            judge_prompt=options.judge_prompt,
        )
    )
    return Model(engine, _step_format(options))


async def _open_local(role: Role, options: RunOptions) -> Model:
    """A model in a worker process of its own: the one that the options name, or the embedded."""
    for needed in ("torch", "transformers"):
        if find_spec(needed) is None:  # the worker imports them, where nobody would see it fail
            raise Unsupported(
                f"local models need {needed}, which is not installed: pip install 'dreamr[local]', "
                "or give --target and --draft as addresses of servers"
            )
    from dreamr.engines.local import LocalEngine, LocalOptions

    model = local_model(role, options)
    device = options.device
    if role == "draft" and options.draft_device is not None:
        device = options.draft_device
    engine = await LocalEngine.open(
        model,
        LocalOptions(device=device, threads=options.threads, judge_prompt=options.judge_prompt),
    )
    hints = engine.hints
    marks = {
        "delimiter": hints.delimiter,
        "answer_marker": hints.answer_marker,
        "max_tokens": hints.max_step_tokens,
    }
    return Model(engine, _step_format(options, marks))


def _step_format(options: RunOptions, marks: Mapping[str, Any] | None = None) -> StepFormat:
    """How steps and answers are marked: as the options say, then as the model's folder does."""
    said = {name: mark for name, mark in (marks or {}).items() if mark is not None}
    if options.answer_marker is not None:
        said["answer_marker"] = options.answer_marker
    try:
        return StepFormat(**said)
    except ValueError as error:
        raise BadOption(f"answer-marker: {error}") from error


class Reasoner:
    """A target and its draft, opened once and asked as often as you like.

    Blocking, in scripts and notebooks (also where an event loop runs already):

        with Reasoner() as reasoner:
            print(reasoner.ask("What do tea and milk cost together?", "receipt.png").answer)

    Asynchronous:

        async with Reasoner(RunOptions(window=6)) as reasoner:
            async for event in reasoner.stream("What do tea and milk cost together?", image):
                ...

    Several questions may be under way at once. A question is text, with any number of pictures
    (paths, bytes, Pillow images or `Image`s), or a `Conversation`.
    """

    def __init__(
        self, options: RunOptions | None = None, *, open_model: OpenModel = open_any
    ) -> None:
        """Nothing is loaded yet.

        Args:
            options: which models, which method, which limits.
            open_model: opens the model of a role; called once a role, for both side by side.
        """
        self.options = options or RunOptions()
        self._open_model = open_model
        self._models: dict[Role, Model] = {}
        self._tasks: TaskGroup | None = None
        self._thread = 0  # where the event loop of the models runs
        self._portal: BlockingPortal | None = None
        self._blocking = ExitStack()
        self._asked: set[Future[Result]] = set()

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("this Reasoner is open already")
        await self._open()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._thread = threading.get_ident()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, None
        try:
            if tasks is not None:
                tasks.cancel_scope.cancel()
                # Not told of the error of the block, which it would wrap in a group.
                await tasks.__aexit__(None, None, None)
        finally:
            await self._close()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="dreamr"))
            # One task enters and leaves, as task groups demand.
            stack.enter_context(portal.wrap_async_context_manager(self))
            self._blocking = stack.pop_all()
        self._portal = portal
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal = None
        for future in tuple(self._asked):
            future.cancel()
        self._blocking.__exit__(kind, error, traceback)

    def ask(
        self,
        question: str | Conversation,
        *images: ImageSource,
        options: RunOptions | None = None,
        on_event: Callable[[Event], None] | None = None,
        watch: Watch | None = None,
        tuner: Tuner | None = None,
    ) -> Result:
        """Reason to the end, and block until then. Arguments and errors: `reason`.

        `on_event` is called on a background thread.
        """
        portal = self._portal
        if portal is None:
            raise RuntimeError("ask() needs `with Reasoner() as reasoner:`; else await reason()")
        job = partial(
            self.reason,
            question,
            *images,
            options=options,
            on_event=on_event,
            watch=watch,
            tuner=tuner,
        )
        future = portal.start_task_soon(job)
        self._asked.add(future)
        try:
            if self._portal is not portal:  # closed before it could know of this future
                future.cancel()
            return future.result()
        except CancelledError as error:
            raise RunFailed("the Reasoner was closed during the run") from error
        finally:
            future.cancel()  # after an interrupt: nobody waits for the run any more
            self._asked.discard(future)

    async def reason(
        self,
        question: str | Conversation,
        *images: ImageSource,
        options: RunOptions | None = None,
        on_event: Callable[[Event], None] | None = None,
        watch: Watch | None = None,
        tuner: Tuner | None = None,
    ) -> Result:
        """Reason to the end.

        Args:
            question: text, or a whole conversation (and then no pictures beside it).
            images: come before the question's text; read by `dreamr.conversation.read_image`.
            options: of this run alone; which models there are was chosen before.
            on_event: sees each event as it happens.
            watch: if the options have its gate, it sets the threshold, and audits afterwards.
            tuner: chooses window, fallback and resamples of method fpsr, and learns from the run.

        Raises:
            ConversationError: the question or a picture cannot be used.
            Unsupported: the models lack what was asked for.
            RunFailed: an engine was lost (its `result` holds what there is), or this was closed.
        """
        self._check_open()
        conversation = await self._conversation(question, images)
        models = self._models
        settings = replace((options or self.options).settings(), step_format=self.step_format)
        if watch is not None and not watch.concerns(settings.gate):
            watch = None
        if watch is not None:
            settings = replace(settings, gate=watch.gate)
        kind, setting = kind_of(conversation), None
        if tuner is not None and settings.method == "fpsr":
            setting = tuner.choose(kind)
            settings = replace(settings, options=setting.applied(settings.options))
        target = models["target"].engine if "target" in models else None
        shown = None
        try:
            result = await run(
                conversation,
                target=target,
                draft=models["draft"].engine if "draft" in models else None,
                settings=settings,
                on_event=on_event,
            )
            shown = Shown.of(result)
        finally:
            if tuner is not None and setting is not None:
                tuner.learn(kind, setting, shown)
        if watch is not None and target is not None and self._tasks is not None:
            watch.follow(self._tasks, target, self.step_format, conversation, result)
        return result

    async def stream(
        self,
        question: str | Conversation,
        *images: ImageSource,
        options: RunOptions | None = None,
        watch: Watch | None = None,
        tuner: Tuner | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Reason, and yield each event as it happens; the last is `RunFinished`.

        Leaving the loop, or closing the generator, cancels the run. Arguments and errors:
        `reason`; a `RunFailed` comes after the last event.
        """
        tasks = self._check_open()
        send, receive = anyio.create_memory_object_stream[Event](math.inf)
        failures: list[Exception] = []
        scope = anyio.CancelScope()

        async def work() -> None:
            with scope, send:
                try:
                    await self.reason(
                        question,
                        *images,
                        options=options,
                        on_event=send.send_nowait,
                        watch=watch,
                        tuner=tuner,
                    )
                except Exception as error:
                    failures.append(error)

        # The run lives in a task of the Reasoner's, not of this generator's: generators may be
        # finalized from any task, which a cancel scope must not be.
        tasks.start_soon(work)
        try:
            async for event in receive:
                yield event
        finally:
            scope.cancel()
            receive.close()
        if failures:
            raise failures[0]

    @property
    def models(self) -> Mapping[Role, Model]:
        """The models that are open, by their roles."""
        return self._models

    @property
    def step_format(self) -> StepFormat:
        """How steps and answers are marked: as the target does, or the draft where it is alone."""
        return self._models["target" if "target" in self._models else "draft"].step_format

    def _check_open(self) -> TaskGroup:
        if self._tasks is None:
            raise RuntimeError("open the Reasoner first: `with` or `async with Reasoner() as ...`")
        if threading.get_ident() != self._thread:
            raise RuntimeError("opened with `with`, a Reasoner takes ask() alone: use `async with`")
        return self._tasks

    async def _conversation(
        self, question: str | Conversation, images: tuple[ImageSource, ...]
    ) -> Conversation:
        if isinstance(question, str):
            read = [await anyio.to_thread.run_sync(read_image, image) for image in images]
            return Conversation.from_prompt(question, *read)
        if images:
            raise TypeError("a Conversation holds its pictures itself")
        question.check()
        return question

    async def _open(self) -> None:
        async def open_one(role: Role) -> None:
            self._models[role] = await self._open_model(role, self.options)

        try:
            async with anyio.create_task_group() as group:
                for role in self.options.roles:
                    group.start_soon(open_one, role)
        except BaseException as error:
            await self._close()
            if isinstance(error, BaseExceptionGroup):
                raise _cause(error) from None
            raise

    async def _close(self) -> None:
        models, self._models = list(self._models.values()), {}
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for model in models:
                    group.start_soon(model.engine.aclose)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show for a group: one of ours if there is one."""
    ours = group.subgroup(DreamrError)
    error: BaseException = ours or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
