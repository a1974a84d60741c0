"""Continuous batching in real time: every pass gives each running sequence one token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Self

from dreamr.evaluation.simulator import rates
from dreamr_testbed.emulator.prefix_cache import PrefixCache


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds of a pass of the model.

    A pass takes `token` for the weights that it reads, and `reading` for each token in it: one of
    each sequence that decodes, and those that are prefilled.

    Attributes:
        token: Seconds of a pass over one token.
        reading: Seconds of each further token.
        chunk: Largest number of tokens in a pass; longer prompts are prefilled in several.
        block: Tokens of a block of the prefix cache.
    """

    token: float
    reading: float = 0.0
    chunk: int = 8192
    block: int = 16

    @classmethod
    def named(cls, model: str, gpu: str, count: int = 1, block: int = 16) -> Self:
        """Return the rates of a model on `count` devices, from `rates.toml` of the simulator.

        Raises:
            BadScenario: If a name is unknown.
        """
        table = rates()
        spec, device = table.model(model), table.gpu(gpu)
        token, reading = table.token(spec, device, count), table.reading(spec, device, count)
        return cls(token, reading, block=block)


@dataclass(eq=False, slots=True)
class _Sequence:
    """A request in the batch.

    Attributes:
        tokens: Prompt, and what has been written.
        rest: What will be written.
        salt: Keeps its blocks apart in the prefix cache.
        unread: Tokens of the prompt that are not computed yet; None before its first pass.
        written: Tokens for the client; None at the end.
    """

    tokens: list[str]
    rest: list[str]
    salt: str
    unread: int | None = None
    written: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)


class Batching:
    """One model on its devices.

    Args:
        rates: Seconds of its passes.
    """

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._cache = PrefixCache(rates.block)
        self._running: list[_Sequence] = []
        self._arrived = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Number of sequences in the batch."""
        return len(self._running)

    @property
    def block(self) -> int:
        """Tokens of a block of the prefix cache."""
        return self._rates.block

    def cached(self, prompt: Sequence[str], salt: str = "") -> int:
        """Return the number of tokens of a prompt in the prefix cache."""
        return self._cache.cached(prompt, salt)

    async def write(
        self, prompt: Sequence[str], text: Sequence[str], salt: str = ""
    ) -> AsyncGenerator[str, None]:
        """Yield the tokens of a text when the model would have written them.

        Closing the generator removes the sequence from the batch before the next pass.
        """
        if not text:
            return
        if self._loop is None:
            self._loop = asyncio.create_task(self._work())
        sequence = _Sequence(list(prompt), list(text), salt)
        self._running.append(sequence)
        self._arrived.set()
        try:
            while (token := await sequence.written.get()) is not None:
                yield token
        finally:
            if sequence in self._running:
                self._end(sequence)

    async def aclose(self) -> None:
        """Stop working."""
        if self._loop is not None:
            self._loop.cancel()

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        ends = clock()
        while True:
            if not self._running:
                self._arrived.clear()
                await self._arrived.wait()
                ends = clock()
            # From the planned end of the last pass, so that late wake-ups do not add up.
            reads = self._plan()
            ends += self._rates.token + self._rates.reading * (sum(reads.values()) - 1)
            await asyncio.sleep(max(0.0, ends - clock()))
            for sequence, count in reads.items():
                if sequence in self._running:
                    self._advance(sequence, count)

    def _plan(self) -> dict[_Sequence, int]:
        """Return the number of tokens of each sequence in the next pass.

        As in vLLM, the blocks of a prompt are in the prefix cache from the pass that computes them:
        prompts with the same beginning in one pass compute it once.
        """
        room = self._rates.chunk
        reads = {}
        for sequence in self._running:
            tokens, salt = sequence.tokens, sequence.salt
            if sequence.unread is None:
                sequence.unread = len(tokens) - self._cache.cached(tokens, salt)
            reads[sequence] = max(1, min(sequence.unread, room))
            room = max(1, room - reads[sequence])
            if 0 < sequence.unread <= reads[sequence]:
                self._cache.add(tokens, salt)
        return reads

    def _advance(self, sequence: _Sequence, count: int) -> None:
        if sequence.unread:
            sequence.unread -= count
            if sequence.unread > 0:
                return
        token = sequence.rest.pop(0)
        sequence.tokens.append(token)
        sequence.written.put_nowait(token)
        if not sequence.rest:
            self._end(sequence)
            sequence.written.put_nowait(None)

    def _end(self, sequence: _Sequence) -> None:
        self._running.remove(sequence)
        if sequence.unread == 0:
            self._cache.add(sequence.tokens, sequence.salt)
