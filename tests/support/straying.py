"""A pair whose draft can drift while the target's verdicts stay positive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import anyio

from dreamr.engines import Chunk, Context, Model, ModelSource, SamplingParams, ScriptedEngine
from dreamr.gate import VERDICT, Evidence, Query
from support.pairs import RIGHT, Pair

OTHER_WORDS = "Milk is 1.20.\n\n"


@dataclass
class Straying(Pair):
    """A target that accepts all drafted steps, but recognizes steps with another meaning.

    Attributes:
        says: Second step of the draft.
        ratio: Judge ratio of all steps.
        failing: Error that comparisons of two steps raise.
        hanging: Whether the target hangs when it writes a second step.
        compared: Compared steps, each with the steps that it was compared with.
    """

    says: str = RIGHT[1]
    ratio: float = 0.95
    failing: Exception | None = None
    hanging: bool = False
    compared: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    async def __call__(self, source: ModelSource) -> Model:
        if source.role == "draft":
            self.opened[source.role] = ScriptedEngine(script=self._draft, **self.draft)
        else:
            self.opened[source.role] = _Target(self)
        return Model(self.opened[source.role])

    def _draft(self, context: Context) -> str:
        return "".join((RIGHT[0], self.says, RIGHT[2])[len(context.prefix) :])


class _Target(ScriptedEngine):
    def __init__(self, pair: Straying) -> None:
        super().__init__(script=RIGHT, opinion=pair.ratio, name="target", **pair.target)
        self._pair = pair

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        if self._pair.hanging and len(context.prefix) == 1:
            await anyio.sleep_forever()
        async for chunk in super().stream(context, sampling):
            yield chunk

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        if query.kind != "same":
            return await super().judge(context, candidates, query)
        if self._pair.failing is not None:
            raise self._pair.failing
        (step,) = candidates
        self._pair.compared.append((step, query.others))
        same = 0.9 if step == OTHER_WORDS else 0.1
        return (Evidence(same, 1 - same),)
