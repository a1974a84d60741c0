"""The two models of a bench, opened anew where one is lost."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import anyio

from dreamr._options import RunOptions
from dreamr._provenance import memory_mb
from dreamr._reasoner import Model, OpenModel
from dreamr.schedules import Role


class Models:
    """Both models, open while the block lasts; all methods use the same ones."""

    def __init__(self, options: RunOptions, roles: frozenset[Role], open_model: OpenModel) -> None:
        self._options, self._roles, self._open_model = options, roles, open_model
        self._models: dict[Role, Model] = {}
        self._renewing = anyio.Lock()
        self.generation = 0  # how often they were opened

    async def __aenter__(self) -> Self:
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
            self._models[role] = await self._open_model(role, self._options)
        self.generation += 1

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            models, self._models = self._models, {}
            for model in models.values():
                await model.engine.aclose()
