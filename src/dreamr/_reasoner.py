"""The Reasoner, the main class of the Python API."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dreamr._concurrency import cancel_tasks, root_cause
from dreamr._from_pair import FromPair
from dreamr._load import PairLoad, Shaped
from dreamr._options import RunOptions
from dreamr._profiles import open_profile, profile_for
from dreamr._run_arguments import (
    RunArguments,
    check_arguments,
    check_run_options,
    deadline_of_run,
    labeled,
    read_problem,
    with_arguments,
)
from dreamr._sampling import PLAIN, closed_thoughts, thinking_notes, vendor_notes, vendors
from dreamr.conversation import AttachmentCache, AttachmentSource, Conversation
from dreamr.engines import Model, OpenModel, open_model
from dreamr.engines.model_set import ModelSet, ReopenPolicy
from dreamr.errors import RunFailed
from dreamr.gate import Gate, Profile
from dreamr.runner import RunConfig, RunScope, RunTime, check_engines, run, run_time, view_of
from dreamr.runner.requirements import server_advice
from dreamr.speech import OpenTranscriber, PairSpeech, Transcripts, open_transcriber
from dreamr.steps import Role, StepFormat
from dreamr.trace import Event, Result

LOG = logging.getLogger("dreamr")


class Reasoner(FromPair):
    """A pair of target and draft models that solves problems by speculative reasoning.

    Opening a Reasoner loads the models; closing it frees them. It can be reopened. A problem is a
    text with any number of attachments (images, PDF files, videos and sounds; see
    `dreamr.conversation.read_attachment`), or a `Conversation`. Several runs may be in progress
    concurrently.

    A model that is lost, because its worker process has ended or its server cannot be reached, is
    opened again in the background. Runs continue without a lost draft and wait for a lost target.

    Example:
        Blocking, in scripts and notebooks:

        ```python
        with Reasoner() as reasoner:
            result = reasoner.ask("What do tea and milk cost together?", "receipt.png")
            print(result.answer)
        ```

        Asynchronous:

        ```python
        async with Reasoner(RunOptions(window=6)) as reasoner:
            async for event in reasoner.stream("What do tea and milk cost?", "receipt.png"):
                print(event)
        ```

    Attributes:
        options: Options of the Reasoner, the default of its runs.
    """

    def __init__(
        self,
        options: RunOptions | None = None,
        *,
        open_model: OpenModel = open_model,
        open_transcriber: OpenTranscriber = open_transcriber,
        reopen: bool = True,
    ) -> None:
        """Choose models and options; models are loaded when the Reasoner is opened.

        Args:
            options: Models, method and limits; defaults if None.
            open_model: Opens a model. Called for both roles concurrently, and after a loss.
            open_transcriber: Makes the transcriber that the options name.
            reopen: Whether models that are lost are opened again.
        """
        self.options = check_run_options(options) or RunOptions()
        self._open_model = open_model
        self._policy = ReopenPolicy() if reopen else None
        self._models = ModelSet(open_model, self._policy)
        self._load = PairLoad()
        self._speech = PairSpeech(open_transcriber)
        self._attachments = AttachmentCache()
        self._profile: Profile | None = None
        self._tasks: TaskGroup | None = None
        self._thread = 0  # thread of the event loop that the models run on
        self._portal: BlockingPortal | None = None
        self._blocking = ExitStack()
        self._asked: set[Future[Result]] = set()

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("the Reasoner is already open")
        await self._open()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._models.supervise)
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
                await cancel_tasks(tasks)
        finally:
            await self._aclose()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="dreamr"))
            # Task groups must be entered and left in the same task.
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
        *attachments: AttachmentSource | Sequence[AttachmentSource],
        **arguments: Unpack[RunArguments],
    ) -> Result:
        """Run to the end and return the result; the blocking form of `reason`.

        It also works if an event loop is already running, as in notebooks. `on_event` and hooks are
        called on a background thread.

        Args:
            question: Text of the problem, "" if it is spoken in a sound, or a whole conversation.
            attachments: Images, PDF files, videos and sounds of the problem, which come before the
                text: paths, bytes or open files of any kind, or what was read already.
            arguments: Options, event callback and hooks; see `RunArguments`.

        Raises:
            RuntimeError: If the Reasoner was not opened with `with`.
            DreamrError: The errors of `reason`.
        """
        check_arguments(arguments)
        portal = self._portal
        if portal is None:
            raise RuntimeError(
                "ask() needs an open Reasoner: use `with Reasoner() as reasoner:`, or `async with` "
                "and reason()"
            )
        future = portal.start_task_soon(partial(self.reason, question, *attachments, **arguments))
        self._asked.add(future)
        try:
            if self._portal is not portal:  # closed before this future was registered
                future.cancel()
            return future.result()
        except CancelledError as error:
            raise RunFailed("the Reasoner was closed during the run") from error
        finally:
            future.cancel()  # after an interrupt, the run has no caller left
            self._asked.discard(future)

    async def reason(
        self,
        question: str | Conversation,
        *attachments: AttachmentSource | Sequence[AttachmentSource],
        **arguments: Unpack[RunArguments],
    ) -> Result:
        """Run to the end and return the result.

        Args:
            question: Text of the problem, "" if it is spoken in a sound, or a whole conversation
                (without further `attachments`).
            attachments: Images, PDF files, videos and sounds of the problem, which come before the
                text: paths, bytes or open files of any kind, or what was read already. The kind is
                decided by the content. The options say which pages and frames are read.
            arguments: Options, event callback and hooks; see `RunArguments`.

        Raises:
            RuntimeError: If the Reasoner was not opened with `async with`.
            ConversationError: If the text or an attachment cannot be used.
            BadOption: If the options name another profile than those of the Reasoner, or the
                profile is not valid for them.
            Unsupported: If the models cannot do what the options require.
            EngineLost: If the target was lost before the run and cannot be opened at present.
            DeadlinePassed: If the run has no time to begin, or missed a deadline that is an error.
            RunFailed: If the target was lost, or the Reasoner was closed during the run. Its
                `result`, if not None, is the Result so far.
        """
        check_arguments(arguments)
        tasks = self._check_open()
        options = arguments.get("options") or self.options
        media = options.media(self._models.image_pixels)
        read = partial(self._attachments.read, options=media, salt=arguments.get("cache_salt"))
        leading: Role = "target" if "target" in options.roles else "draft"
        with labeled(arguments), run_time(deadline_of_run(arguments, options)) as time:
            conversation = await read_problem(question, attachments, read)
            async with self._models.lease(self._models.keys() & {leading}) as models:
                engines = {role: m.engine for role, m in models.items() if role in options.roles}
                conversation, said = await self._speech.written(
                    conversation, engines, hotwords=options.hotwords
                )
                try:
                    with self._load.run(options, engines.get("target")) as shaped:
                        result = await self._reason(
                            tasks, conversation, said, models, shaped, arguments, time
                        )
                        if not arguments.get("committed"):  # else its times are of its end only
                            shaped.learn(result)
                        return result
                except RunFailed as error:
                    error.lost = not models[leading].engine.alive
                    raise

    async def _reason(
        self,
        tasks: TaskGroup,
        conversation: Conversation,
        said: Transcripts,
        models: Mapping[Role, Model],
        shaped: Shaped,
        arguments: RunArguments,
        time: RunTime,
    ) -> Result:
        # By the target; the runner does it for each role.
        seen = view_of("target", conversation, shaped.options)
        step_format = self._leading.format_of(seen)
        config = self._run_config(shaped.options, seen)
        config = replace(config, step_format=step_format, transcripts=said, deadline=time.begin())
        config = shaped.timed(config)
        config = with_arguments(config, arguments)
        engines = {role: model.engine for role, model in models.items()}
        target = engines.get("target")
        scope = RunScope(seen, step_format, target, tasks)
        hooks = arguments.get("hooks") or ()
        for hook in hooks:
            config = hook.before_run(scope, config)
        result = None
        try:
            result = await run(
                conversation,
                target=target,
                draft=engines.get("draft"),
                config=config,
                on_event=arguments.get("on_event"),
            )
        finally:
            for hook in hooks:
                hook.after_run(scope, result)
        return result

    async def stream(
        self,
        question: str | Conversation,
        *attachments: AttachmentSource | Sequence[AttachmentSource],
        **arguments: Unpack[RunArguments],
    ) -> AsyncGenerator[Event, None]:
        """Run, and yield each event as it happens; the last is `RunFinished`.

        Leaving the loop or closing the generator cancels the run.

        Args:
            question: Text of the problem, "" if it is spoken in a sound, or a whole conversation.
            attachments: Images, PDF files, videos and sounds of the problem, as for `reason`.
            arguments: Options, event callback and hooks; see `RunArguments`.

        Raises:
            DreamrError: The errors of `reason`; `RunFailed` is raised after the last event.
        """
        check_arguments(arguments)
        tasks = self._check_open()
        send, receive = anyio.create_memory_object_stream[Event](math.inf)
        on_event = arguments.get("on_event") or (lambda event: None)
        # Until `reason` returns or raises: closing the Reasoner cancels it without an exception.
        failures: list[Exception] = [RunFailed("the Reasoner was closed during the run")]
        scope = anyio.CancelScope()

        def forward(event: Event) -> None:
            send.send_nowait(event)
            on_event(event)

        async def work() -> None:
            with scope, send:
                try:
                    forwarding: RunArguments = {**arguments, "on_event": forward}
                    await self.reason(question, *attachments, **forwarding)
                    failures.clear()
                except Exception as error:
                    failures[:] = [error]

        # The run is a task of the Reasoner, not of this generator: a generator may be finalized
        # from any task, but a cancel scope must be left in the task that entered it.
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
    def gate(self) -> Gate:
        """Gate of runs with the options of the Reasoner."""
        return self._run_config(self.options).gate

    @property
    def models(self) -> ModelSet:
        """Open models by role. A lost one stays here until it is open again."""
        return self._models

    @property
    def step_format(self) -> StepFormat:
        """How steps end and answers are marked: by the target, or by the draft if it is alone."""
        return self._leading.step_format

    @property
    def _leading(self) -> Model:
        return self._models["target" if "target" in self._models else "draft"]

    def _check_open(self) -> TaskGroup:
        if self._tasks is None:
            raise RuntimeError("the Reasoner is not open: use `async with Reasoner() as reasoner:`")
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "a Reasoner opened with `with` supports ask() only: use `async with` for reason() "
                "and stream()"
            )
        return self._tasks

    def _run_config(self, options: RunOptions, conversation: Conversation = PLAIN) -> RunConfig:
        profile = profile_for(options, self._profile, self.options.profile)
        applied = vendors(options, self._models, conversation)
        thinking = thinking_notes(options, self._models, conversation)
        notes = (*vendor_notes(applied, self._models), *thinking)
        leads = closed_thoughts(options, self._models, conversation)
        return replace(options.run_config(profile, applied), notes=notes, leads=leads)

    async def _open(self) -> None:
        self._models = ModelSet(self._open_model, self._policy)

        async def read_profile() -> None:
            self._profile = await anyio.to_thread.run_sync(open_profile, self.options)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(read_profile)
                group.start_soon(
                    self._speech.start, self.options.transcriber, self.options.transcriber_model
                )
                for role in self.options.roles:
                    group.start_soon(self._models.open, self.options.source(role))
            engines = {role: self._models[role].engine for role in self.options.roles}
            check_engines(self._run_config(self.options), engines)
            if advice := server_advice(engines.values()):
                LOG.warning(advice)
        except BaseException as error:
            await self._aclose()
            if isinstance(error, BaseExceptionGroup):
                raise root_cause(error) from None
            raise

    async def _aclose(self) -> None:
        try:
            await self._models.aclose()
        finally:
            await self._speech.aclose()
