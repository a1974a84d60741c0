"""How a draft stands with its target: what that says to what the draft writes alone, greedily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dreamr._concurrency import gather_bounded
from dreamr.engines import Model, SamplingParams
from dreamr.evaluation.tasks import Item, Items
from dreamr.training.grader import Completion, Grader, write
from dreamr.training.rollout import figures

_MOST = 16  # completions under way at the draft
_BLOCK = 64  # problems written and graded in one go


async def measure(
    tasks: Mapping[str, Items],
    draft: Model,
    grader: Grader,
    *,
    most_tokens: int = 1024,
    on_done: Callable[[int, str], None] = lambda done, name: None,
) -> dict[str, dict[str, float]]:
    """The figures of each task (`figures`), and their means under 'mean' where there are several.

    Args:
        tasks: problems to measure with.
        draft: who writes.
        grader: the target.
        most_tokens: bound on a completion.
        on_done: called with how many problems are done, and the task of the last.

    Raises:
        EngineError: an engine failed.
    """
    found: dict[str, dict[str, float]] = {}
    done = 0
    for task, items in tasks.items():
        rollouts = []
        for first in range(0, len(items), _BLOCK):
            block = items[first : first + _BLOCK]
            rollouts += await grader.grade(await _write(block, draft, grader, most_tokens))
            done += len(block)
            on_done(done, task)
        found[task] = {"problems": float(len(items)), **figures(rollouts)}
    if len(found) > 1:
        names = next(iter(found.values()))
        found["mean"] = {
            name: sum(row[name] for row in found.values()) / len(found) for name in names
        }
    return found


async def _write(
    items: Items, draft: Model, grader: Grader, most_tokens: int
) -> Sequence[Completion]:
    sampling = SamplingParams(max_tokens=most_tokens)

    async def one(item: Item) -> Completion:
        completion = await write(draft.engine, item, grader.step_format, sampling)
        draft.engine.forget(item.conversation)
        return completion

    return await gather_bounded(items, one, _MOST)
