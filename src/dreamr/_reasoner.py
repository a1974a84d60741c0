"""The public face: a pair of models, ready to be asked."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, TypedDict, Unpack

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._profiles import open_profile
from dreamr.conversation import Conversation, ImageSource, read_image
from dreamr.engines import Model, OpenModel, open_model
from dreamr.errors import DreamrError, RunFailed
from dreamr.gate import Gate, Profile
from dreamr.runner import RunConfig, RunHook, RunScope, run
from dreamr.steps import Role, StepFormat
from dreamr.trace import Event, Result


class RunArguments(TypedDict, total=False):
    """What may be said of one run.

    options: of this run alone; the models were chosen when the Reasoner was made. on_event: sees
    each event as it happens. hooks: called before and after the run, in this order.
    """

    options: RunOptions | None
    on_event: Callable[[Event], None] | None
    hooks: Sequence[RunHook]


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
        self, options: RunOptions | None = None, *, open_model: OpenModel = open_model
    ) -> None:
        """Nothing is loaded yet.

        Args:
            options: which models, which method, which limits.
            open_model: opens a model; called once a role, for both side by side.
        """
        self.options = options or RunOptions()
        self._open_model = open_model
        self._models: dict[Role, Model] = {}
        self._profile: Profile | None = None
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
        **arguments: Unpack[RunArguments],
    ) -> Result:
        """Reason to the end, and block until then. Arguments and errors: `reason`.

        `on_event` and hooks are called on a background thread.
        """
        portal = self._portal
        if portal is None:
            raise RuntimeError("ask() needs `with Reasoner() as reasoner:`; else await reason()")
        future = portal.start_task_soon(partial(self.reason, question, *images, **arguments))
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
        **arguments: Unpack[RunArguments],
    ) -> Result:
        """Reason to the end.

        Args:
            question: text, or a whole conversation (and then no pictures beside it).
            images: come before the question's text; read by `dreamr.conversation.read_image`.
            arguments: see `RunArguments`.

        Raises:
            ConversationError: the question or a picture cannot be used.
            BadOption: the options name another profile than those of the Reasoner, or the profile
                does not hold for them.
            Unsupported: the models lack what was asked for.
            RunFailed: an engine was lost (its `result` holds what there is), or this was closed.
        """
        tasks = self._check_open()
        conversation = await self._conversation(question, images)
        config = self._run_config(arguments.get("options") or self.options)
        target, draft = (self._models.get(role) for role in ("target", "draft"))
        target_engine = target.engine if target is not None else None
        scope = RunScope(conversation, self.step_format, target_engine, tasks)
        hooks = arguments.get("hooks", ())
        for hook in hooks:
            config = hook.before_run(scope, config)
        result = None
        try:
            result = await run(
                conversation,
                target=target_engine,
                draft=draft.engine if draft is not None else None,
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
        *images: ImageSource,
        **arguments: Unpack[RunArguments],
    ) -> AsyncGenerator[Event, None]:
        """Reason, and yield each event as it happens; the last is `RunFinished`.

        Leaving the loop, or closing the generator, cancels the run. Arguments and errors:
        `reason`; a `RunFailed` comes after the last event.
        """
        tasks = self._check_open()
        send, receive = anyio.create_memory_object_stream[Event](math.inf)
        heard = arguments.get("on_event")
        failures: list[Exception] = []
        scope = anyio.CancelScope()

        def hear(event: Event) -> None:
            send.send_nowait(event)
            if heard is not None:
                heard(event)

        both: RunArguments = {**arguments, "on_event": hear}

        async def work() -> None:
            with scope, send:
                try:
                    await self.reason(question, *images, **both)
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
    def gate(self) -> Gate:
        """The gate of runs with the Reasoner's own options."""
        return self._run_config(self.options).gate

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

    def _run_config(self, options: RunOptions) -> RunConfig:
        profile = self._profile if options.profile == self.options.profile else None
        if options.profile is not None and profile is None:
            raise BadOption(
                f"the profile {options.profile} was not read when the Reasoner opened: give it to "
                "Reasoner(RunOptions(profile=...))"
            )
        return replace(options.run_config(profile), step_format=self.step_format)

    async def _open(self) -> None:
        async def open_one(role: Role) -> None:
            self._models[role] = await self._open_model(self.options.source(role))

        async def read_profile() -> None:
            self._profile = await anyio.to_thread.run_sync(open_profile, self.options)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(read_profile)
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
