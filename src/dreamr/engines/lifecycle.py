"""Base class of engines: starting and closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import anyio

from dreamr.errors import EngineLost


class ClosingEngine(ABC):
    """Base of engines that are asynchronous context managers.

    Entering starts the engine, leaving closes it. An engine that fails to start is closed.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The model's path or id, for messages."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether calls can succeed; see `Engine.alive`."""

    async def start(self) -> None:
        """Start the engine; idempotent.

        The default does nothing, for engines that are ready when they are created.
        """
        return

    @abstractmethod
    async def aclose(self) -> None:
        """Close the engine and free its resources; idempotent."""

    async def check(self) -> None:
        """Check that the model can be used, without work for the model itself; see `Engine.check`.

        The default checks only whether the engine is `alive`.

        Raises:
            EngineLost: If it is not.
        """
        if not self.alive:
            raise EngineLost(f"{self.name} is lost")

    def note_stall(self, seconds: float) -> None:
        """Note that a call had no output for this many seconds and was canceled.

        An engine that did not respond to any other call meanwhile is then not `alive` any more. The
        default does nothing.
        """
        return

    async def started(self) -> Self:
        """Start the engine and return it.

        If `start` fails, the engine is closed and the error is raised.
        """
        try:
            await self.start()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise
        return self

    async def __aenter__(self) -> Self:
        return await self.started()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
