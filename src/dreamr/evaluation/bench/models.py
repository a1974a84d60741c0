"""The models of a bench, reopened when one is lost."""

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
    """An async context manager that keeps the models open; all methods share them.

    Attributes:
        generation: How many times the models were opened.
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
        self._options, self._roles, self._open_model = options, roles, open_model
        self._models: dict[Role, Model] = {}
        self._profile = profile
        self._renewing = anyio.Lock()
        self.generation = 0

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
        """Whether calls of all models can succeed."""
        return all(model.engine.alive for model in self._models.values())

    @property
    def leading(self) -> Model:
        """Model that decides how steps and answers are marked: the target if there is one."""
        return self._models["target" if "target" in self._models else "draft"]

    def run_config(self, options: RunOptions) -> RunConfig:
        """Return the configuration of a run with these options on these models."""
        config = options.run_config(self._profile)
        return replace(config, step_format=self.leading.step_format)

    @property
    def memory_mb(self) -> int | None:
        """Memory of this process and the workers of local models in MB, None if unknown."""
        workers = [getattr(model.engine, "pid", None) for model in self._models.values()]
        return memory_mb([os.getpid(), *(pid for pid in workers if pid is not None)])

    async def renew(self, generation: int) -> None:
        """Reopen the models, unless another task already did since `generation` was read."""
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
