"""What the engines share about opening and closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import anyio


class ClosingEngine(ABC):
    """An engine as an asynchronous context manager: started at the beginning, closed at the end.

    Nothing stays open where starting fails.
    """

    async def start(self) -> None:
        """Make it ready for calls; idempotent. Some engines always are."""
        return

    @abstractmethod
    async def aclose(self) -> None:
        """Free everything; idempotent."""

    async def started(self) -> Self:
        """Itself, once it is ready. Errors: `start`; then it is closed."""
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
