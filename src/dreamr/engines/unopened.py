"""The engine of a model that could not be opened yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dreamr.conversation import Conversation
from dreamr.engines.lifecycle import ClosingEngine
from dreamr.engines.protocol import Capabilities, Chunk, Context, SamplingParams
from dreamr.errors import EngineLost
from dreamr.gate import VERDICT, Evidence, Query


class UnopenedEngine(ClosingEngine):
    """Stands for a model whose server is still starting: it counts as lost.

    Args:
        name: Name of the model, for messages.
        reason: Why the model could not be opened.
    """

    def __init__(self, name: str, reason: str) -> None:
        self._name, self._reason = name, reason

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """All capabilities: what the model lacks is found when it is open."""
        return Capabilities(logprobs=True, entropy=True)

    @property
    def alive(self) -> bool:
        """False: calls fail."""
        return False

    async def check(self) -> None:
        """Raise the error of all calls.

        Raises:
            EngineLost: Always, since the model is not open.
        """
        raise self._error()

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        """Raise the error of all calls.

        Raises:
            EngineLost: Always, since the model is not open.
        """
        raise self._error()
        yield  # makes this function a generator

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Raise the error of all calls.

        Raises:
            EngineLost: Always, since the model is not open.
        """
        raise self._error()

    async def count(self, conversation: Conversation) -> int:
        """Raise the error of all calls.

        Raises:
            EngineLost: Always, since the model is not open.
        """
        raise self._error()

    def forget(self, conversation: Conversation) -> None:
        """Do nothing: nothing is cached."""

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""

    def _error(self) -> EngineLost:
        return EngineLost(f"{self._name} is not open yet: {self._reason}")
