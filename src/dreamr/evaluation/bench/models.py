"""The two models of a bench, opened anew where one is lost."""

from __future__ import annotations

import os
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio

from dreamr._options import RunOptions
from dreamr._profiles import open_profile
from dreamr._provenance import memory_mb
from dreamr.engines import Model, OpenModel
from dreamr.gate import Profile
from dreamr.runner import RunConfig
from dreamr.steps import Role


class Models:
    """Both models, open while the block lasts; all methods use the same ones."""

    def __init__(
        self,
        options: RunOptions,
        roles: frozenset[Role],
        open_model: OpenModel,
        profile: Profile | None = None,
    ) -> None:
        """profile: the one that the options name, where it has been opened already."""
        self._options, self._roles, self._open_model = options, roles, open_model
        self._models: dict[Role, Model] = {}
        self._profile = profile
        self._renewing = anyio.Lock()
        self.generation = 0  # how often they were opened

    async def __aenter__(self) -> Self:
        if self._profile is None:
            self._profile = await anyio.to_thread.run_sync(open_profile, self._options)
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    def __getitem__(self, role: Role) -> Model:
        return self._models[role]

    @property
    def alive(self) -> bool:
        """Whether calls of both can succeed."""
        return all(model.engine.alive for model in self._models.values())

    @property
    def leading(self) -> Model:
        """The one whose marks hold."""
        return self._models["target" if "target" in self._models else "draft"]

    def run_config(self, options: RunOptions) -> RunConfig:
        """That of a run with these options on these models."""
        config = options.run_config(self._profile)
        return replace(config, step_format=self.leading.step_format)

    @property
    def memory_mb(self) -> int | None:
        """Of this process and the workers of local models; None where it cannot be told."""
        workers = [getattr(model.engine, "pid", None) for model in self._models.values()]
        return memory_mb([os.getpid(), *(pid for pid in workers if pid is not None)])

    async def renew(self, generation: int) -> None:
        """Open them again, if nobody has done so since they were of this generation."""
        async with self._renewing:
            if self.generation == generation:
                await self._close()
                await self._open()

    async def _open(self) -> None:
        for role in sorted(self._roles):
            self._models[role] = await self._open_model(self._options.source(role))
        self.generation += 1

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            models, self._models = self._models, {}
            for model in models.values():
                await model.engine.aclose()
