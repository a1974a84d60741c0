"""Base class of engines: starting and closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import anyio


class ClosingEngine(ABC):
    """Base of engines that are asynchronous context managers.

    Entering starts the engine, leaving closes it. An engine that fails to start is closed.
    """

    async def start(self) -> None:
        """Start the engine; idempotent.

        The default does nothing, for engines that are ready when they are created.
        """
        return

    @abstractmethod
    async def aclose(self) -> None:
        """Close the engine and free its resources; idempotent."""

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
