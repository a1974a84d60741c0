"""Run a plan: every method solves every problem once; interruptible."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from dreamr._concurrency import gather_bounded
from dreamr.engines import OpenModel, open_model
from dreamr.errors import RunFailed
from dreamr.evaluation.bench.folder import BenchError, Folder
from dreamr.evaluation.bench.models import Models
from dreamr.evaluation.bench.plan import Batch, Plan, PlannedProblem
from dreamr.evaluation.bench.presets import presets
from dreamr.evaluation.bench.sample import Sample, attachments_of, first_step, trace_of
from dreamr.evaluation.tasks import Item
from dreamr.gate import Profile
from dreamr.trace import Result, Usage

_ATTEMPTS = 2  # attempts per problem
# Consecutive problems that one method failed at every attempt, after which the bench is aborted.
_FAILURES = 5


_LOST = Result("", (), Usage(), 0.0, "failed", "the model was lost")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a bench.

    Attributes:
        done: Number of stored samples.
        total: Number of samples of the complete bench.
        last: The sample just stored, None during warm-up.
    """

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
    """Run the remaining part of a plan.

    Args:
        plan: The plan.
        folder: Folder with the samples so far; new samples are added to it.
        open_model: Opens a model.
        profile: The profile that the plan's options name, if it was already read. Reading it again
            would read all model weights again.
        warm_up: Number of batches per method that are run first and not stored.
        on_progress: Called after each sample and each warm-up batch.

    Raises:
        BenchError: If a method fails several problems in a row, or the samples of the folder come
            from models in another data type.
        Unwritable: If the folder cannot be written.
        ModelNotFound: If a model does not exist.
        Unsupported: If a model cannot be opened.
    """
    if not folder.left:
        return
    options = plan.in_dtypes_of(folder.dtypes if folder.done else {}).options
    async with Models(options, plan.roles, open_model, profile) as models:
        if models.dtypes:
            folder.claim_dtypes(models.dtypes)
        bench = _Bench(plan, folder, models, len(folder.planned), on_progress)
        for batch in islice(plan.batches(), warm_up * len(plan.methods)):
            await bench.warm_up(batch)
        for batch in plan.batches():
            if not folder.done.issuperset(batch.keys()):
                await bench.measure(batch)
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        folder.end_session({"finished": finished, "memory_mb": models.memory_mb})


class _Bench:
    """A running bench."""

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
        self._failed: Counter[str] = Counter()  # in a row, by method

    async def warm_up(self, batch: Batch) -> None:
        """Solve a batch without storing its samples."""
        await self._solve_all(batch)
        self._on_progress(Progress(len(self._folder.done), self._total, None))

    async def measure(self, batch: Batch) -> None:
        """Solve a batch and store its samples."""
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
        """Solve one problem, with a second attempt if the first failed."""
        options = self._presets[batch.method].options(self._plan.options)
        attempt, result = 0, _LOST
        while attempt < _ATTEMPTS and result.error is not None:
            attempt += 1
            try:
                result = await self._models.run(item.conversation, options)
            except RunFailed as error:
                result = _LOST if error.lost else replace(_LOST, error=str(error))
        self._failed[batch.method] = self._failed[batch.method] + 1 if result.error else 0
        if self._failed[batch.method] >= _FAILURES:
            raise BenchError(
                f"{item.task} {item.index}: {result.error}; {_FAILURES} problems in a row failed "
                f"with {batch.method}, finished samples are kept"
            )
        return self._sample(item, batch, result, attempt)

    def _sample(self, item: Item, batch: Batch, result: Result, attempt: int) -> Sample:
        check = item.check if self._presets[batch.method].steps else _unknown
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
            attachments=attachments_of(item.conversation),
            unit=item.unit,
            error=result.error,
        )


def _unknown(position: int, text: str) -> None:
    """Check nothing: pieces of steps are neither right nor wrong."""
