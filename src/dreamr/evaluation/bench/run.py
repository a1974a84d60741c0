"""Running a plan: every method on every problem, once, whatever happens in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice

from dreamr._concurrency import gather_bounded
from dreamr.engines import OpenModel, open_model
from dreamr.errors import RunFailed
from dreamr.evaluation.bench.folder import BenchError, Folder
from dreamr.evaluation.bench.models import Models
from dreamr.evaluation.bench.plan import Batch, Plan, PlannedProblem
from dreamr.evaluation.bench.presets import presets
from dreamr.evaluation.bench.sample import Sample, first_step, trace_of
from dreamr.evaluation.tasks import Item
from dreamr.gate import Profile
from dreamr.runner import RunConfig, run
from dreamr.steps import Role
from dreamr.trace import Result, Usage

_ATTEMPTS = 2  # of one problem; the second with models opened anew
_FAILURES = 5  # problems in a row that fail at every attempt, and the bench gives up


_NOTHING = Result("", (), Usage(), 0.0, "failed", "the model was lost")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a bench is. last: the sample just written, None while it warms up."""

    done: int
    total: int
    last: Sample | None


async def run_bench(
    plan: Plan,
    folder: Folder,
    *,
    open_model: OpenModel = open_model,
    profile: Profile | None = None,
    warm_up: int = 2,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Do what is left of the plan.

    profile: the one that the plan's options name, where it has been opened already; reading it
    again would read all weights again.
    warm_up: uncounted batches of each method before the first one that counts.
    on_progress: called after each sample.

    Raises:
        BenchError: the models fail again and again.
        Unwritable: the folder cannot be written any more.
        ModelNotFound, Unsupported: a model cannot be opened.
    """
    left = (batch for batch in plan.batches() if not folder.done.issuperset(batch.keys()))
    first = next(left, None)
    if first is None:
        return
    roles: set[Role] = set()
    for preset in presets(plan.methods).values():
        roles.update(preset.options(plan.options).roles)
    async with Models(plan.options, frozenset(roles), open_model, profile) as models:
        bench = _Bench(plan, folder, models, plan.samples(), on_progress)
        for batch in islice(plan.batches(), warm_up * len(plan.methods)):
            await bench.warm_up(batch)
        for batch in chain((first,), left):
            await bench.measure(batch)
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        folder.end_session({"finished": finished, "memory_mb": models.memory_mb})


class _Bench:
    """A bench under way."""

    def __init__(
        self,
        plan: Plan,
        folder: Folder,
        models: Models,
        total: int,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._plan, self._folder, self._models = plan, folder, models
        self._total, self._on_progress = total, on_progress
        self._presets = presets(plan.methods)
        self._failed = 0  # in a row

    async def warm_up(self, batch: Batch) -> None:
        """Solve a batch as it will be solved, and forget it."""
        await self._solve_all(batch)
        self._on_progress(Progress(len(self._folder.done), self._total, None))

    async def measure(self, batch: Batch) -> None:
        """Solve a batch and write its samples."""
        started = time.perf_counter()
        samples = await self._solve_all(batch)
        share = (time.perf_counter() - started) / len(samples)
        for sample in samples:
            if sample.key in self._folder.done:
                continue
            if batch.concurrency > 1:
                sample = replace(sample, share=share)
            self._folder.add(sample)
            self._on_progress(Progress(len(self._folder.done), self._total, sample))

    async def _solve_all(self, batch: Batch) -> list[Sample]:
        samples: list[Sample] = []

        async def solve(problem: PlannedProblem) -> None:
            samples.append(await self._solve(problem.item, batch))

        await gather_bounded(batch.problems, solve, batch.concurrency)
        return samples

    async def _solve(self, item: Item, batch: Batch) -> Sample:
        """One problem; once more, with models opened anew, where one of them was lost."""
        attempt, result = 0, None
        while attempt < _ATTEMPTS and (result is None or result.error is not None):
            attempt += 1
            result = await self._try(item, batch.method)
        if result is None or result.error is not None:
            self._count_failure(result)
        else:
            self._failed = 0
        return self._sample(item, batch, result, attempt)

    async def _try(self, item: Item, method: str) -> Result | None:
        """None where a model was lost on the way, and a result does not say what it should."""
        generation = self._models.generation
        try:
            result = await self._reason(item, method)
        except RunFailed as error:
            if not isinstance(error.result, Result):
                raise
            result = error.result
        if self._models.alive:
            return result
        await self._models.renew(generation)
        return None

    def _count_failure(self, result: Result | None) -> None:
        self._failed += 1
        if self._failed >= _FAILURES:
            why = "its model was lost" if result is None else result.error
            raise BenchError(
                f"{_FAILURES} problems in a row failed, the last with: {why}; "
                "what was finished is kept"
            )

    async def _reason(self, item: Item, method: str) -> Result:
        """From a cold start: what was computed for the problem before is forgotten."""
        models = self._models
        options = self._presets[method].options(self._plan.options)
        config: RunConfig = models.run_config(options)
        engines = {role: models[role].engine for role in options.roles}
        for engine in engines.values():
            engine.forget(item.conversation)
        return await run(
            item.conversation,
            target=engines.get("target"),
            draft=engines.get("draft"),
            config=config,
        )

    def _sample(self, item: Item, batch: Batch, result: Result | None, attempt: int) -> Sample:
        """result: None where a model was lost at every attempt."""
        result = result or _NOTHING
        check = item.check if self._presets[batch.method].steps else _cannot_tell
        return Sample(
            task=item.task,
            index=item.index,
            kind=item.kind,
            method=batch.method,
            concurrency=batch.concurrency,
            right=result.error is None and item.right(result.answer),
            answer=result.answer,
            finish=result.finish,
            seconds=result.seconds,
            first_step=first_step(result),
            tokens=sum(step.step.tokens for step in result.steps),
            steps=len(result.steps),
            spans=trace_of(result, check),
            attempt=attempt,
        )


def _cannot_tell(position: int, text: str) -> None:
    """Pieces of steps are neither right nor wrong."""
