"""The models of a bench."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from dreamr._concurrency import cancel_tasks, gather_bounded
from dreamr._load import PairLoad
from dreamr._options import RunOptions
from dreamr._profiles import open_profile
from dreamr._provenance import memory_mb
from dreamr.conversation import Conversation
from dreamr.engines import Engine, Model, OpenModel
from dreamr.engines.model_set import ModelSet, ReopenPolicy
from dreamr.errors import ConversationError, EngineError, EngineLost, RunFailed, Unsupported
from dreamr.gate import Profile
from dreamr.runner import RunConfig, dtypes_of, run
from dreamr.runner.requirements import check_engines
from dreamr.speech import PairSpeech
from dreamr.steps import Role
from dreamr.trace import Result

# A bench waits for a lost model: a sample without it would not measure the method.
_POLICY = ReopenPolicy(within=0.0, patience=5)


class Models:
    """An async context manager that keeps the models open; all methods share them.

    A model that is lost is opened again.
    """

    def __init__(
        self,
        options: RunOptions,
        roles: frozenset[Role],
        open_model: OpenModel,
        profile: Profile | None = None,
    ) -> None:
        """Prepare the models; they are opened when the block is entered.

        Args:
            options: Options that name the models and the profile.
            roles: Roles of the models to open.
            open_model: Opens a model.
            profile: The profile that the options name, if it was already read.
        """
        self._options, self._roles = options, roles
        self._models = ModelSet(open_model, _POLICY)
        self._dtypes: dict[str, str] = {}  # of the models when they were opened first
        self._load, self._speech = PairLoad(), PairSpeech()
        self._profile = profile
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        if self._profile is None:
            self._profile = await anyio.to_thread.run_sync(open_profile, self._options)
        sources = [self._options.source(role) for role in sorted(self._roles)]
        try:
            await self._speech.start(self._options.transcriber, self._options.transcriber_model)
            await gather_bounded(sources, self._models.open, most=len(sources))
        except BaseException:
            await self._aclose()
            raise
        self._dtypes = self.dtypes
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._models.supervise)
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

    async def _aclose(self) -> None:
        try:
            await self._models.aclose()
        finally:
            await self._speech.aclose()

    async def run(self, conversation: Conversation, options: RunOptions) -> Result:
        """Run from a cold start, without the KV caches of earlier runs.

        Returns:
            The result, also of a run that failed with all models usable.

        Raises:
            RunFailed: If the conversation cannot be run, for example because it has too many
                images, or if a model of the method was lost meanwhile (`lost` is set): a result
                without it would not measure the method.
            EngineLost: If a model is lost and several attempts to open it again fail.
            Unsupported: If the models cannot do what the options require for any conversation, or
                one was opened again and runs in another data type.
        """
        async with self._models.lease(options.roles) as models:
            engines = {role: models[role].engine for role in options.roles}
            self._check_dtypes(engines)
            check_engines(self.run_config(options, conversation), engines)
            try:
                conversation, said = await self._speech.written(
                    conversation, engines, hotwords=options.hotwords
                )
                with self._load.run(options, engines.get("target")) as shaped:
                    config = shaped.timed(self.run_config(shaped.options, conversation))
                    config = replace(config, transcripts=said)
                    for role, engine in engines.items():
                        engine.forget(config.seen_by(role, conversation))
                    result = await run(
                        conversation,
                        target=engines.get("target"),
                        draft=engines.get("draft"),
                        config=config,
                    )
                    shaped.learn(result)
            except RunFailed as error:
                if not isinstance(error.result, Result):
                    raise
                result = error.result
            except EngineLost:
                raise
            except (ConversationError, EngineError, Unsupported) as error:
                raise RunFailed(str(error)) from error
            for role, engine in engines.items():
                if not engine.alive:
                    lost = RunFailed(result.error or f"the {role} was lost", result)
                    lost.lost = True
                    raise lost
            return result

    @property
    def dtypes(self) -> dict[str, str]:
        """Data types of the local models, by role."""
        return dtypes_of({role: self._models[role].engine for role in self._models})

    @property
    def leading(self) -> Model:
        """Model that decides how steps and answers are marked: the target if there is one."""
        return self._models["target" if "target" in self._models else "draft"]

    def run_config(self, options: RunOptions, conversation: Conversation) -> RunConfig:
        """Return the configuration of a run with these options on these models."""
        config = options.run_config(self._profile)
        seen = config.seen_by("target", conversation)
        return replace(config, step_format=self.leading.format_of(seen))

    def _check_dtypes(self, engines: Mapping[Role, Engine]) -> None:
        for role, dtype in dtypes_of(engines).items():
            if dtype != self._dtypes.get(role, dtype):
                raise Unsupported(
                    f"the {role} was opened again and runs in {dtype} instead of "
                    f"{self._dtypes[role]}: run the same command again to resume"
                )

    @property
    def memory_mb(self) -> int | None:
        """Memory of this process and the workers of local models in MB, None if unknown."""
        workers = [getattr(model.engine, "pid", None) for model in self._models.values()]
        return memory_mb([os.getpid(), *(pid for pid in workers if pid is not None)])
