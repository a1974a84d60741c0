"""Measure how much of a draft's own solutions the target accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dreamr._concurrency import gather_bounded
from dreamr.conversation import flatten
from dreamr.engines import Engine, Model, SamplingParams
from dreamr.errors import ContextTooLong
from dreamr.evaluation.tasks import Item, Items
from dreamr.speech import PairSpeech
from dreamr.steps import Role
from dreamr.training.grader import Completion, Grader, write
from dreamr.training.problems import check_problems
from dreamr.training.rollout import Rollout, figures

_MOST = 16  # concurrent completions of the draft
_BLOCK = 64  # problems that are solved before they are graded


async def measure(
    tasks: Mapping[str, Items],
    draft: Model,
    grader: Grader,
    *,
    most_tokens: int = 1024,
    speech: PairSpeech | None = None,
    hotwords: str = "",
    on_done: Callable[[int, str], None] = lambda done, name: None,
) -> dict[str, dict[str, float]]:
    """Let a draft solve problems alone, greedily, and let the target judge every step.

    Problems that do not fit into the draft's context are counted and otherwise left out.

    Args:
        tasks: Problems by the names of their tasks.
        draft: Model to measure.
        grader: Target that judges the steps.
        most_tokens: Maximum tokens of a completion.
        speech: Transcribes the sounds of problems for models that do not hear.
        hotwords: Words that are likely in the sounds.
        on_done: Called with the number of finished problems and the task of the last one.

    Returns:
        For each task the number of problems, the number of those that are too long for the draft,
        and the metrics of `figures` for the others; with several tasks also their mean, under
        'mean'.

    Raises:
        BadTraining: If a task has no problems.
        ContextTooLong: If all problems of a task are too long for the draft.
        EngineError: If an engine fails.
    """
    check_problems(tasks)
    found: dict[str, dict[str, float]] = {}
    speech = speech or PairSpeech()
    done = 0
    for task, items in tasks.items():
        rollouts, too_long = list[Rollout](), list[ContextTooLong]()
        for first in range(0, len(items), _BLOCK):
            block = items[first : first + _BLOCK]
            written = await _write(block, draft, grader, most_tokens, speech, hotwords)
            rollouts += await grader.grade([x for x in written if isinstance(x, Completion)])
            too_long += [x for x in written if isinstance(x, ContextTooLong)]
            done += len(block)
            on_done(done, task)
        if not rollouts:
            raise ContextTooLong(f"{task}: {too_long[0]}")
        counts = {"problems": float(len(items)), "too_long": float(len(too_long))}
        found[task] = {**counts, **figures(rollouts)}
    if len(found) > 1:
        names = next(iter(found.values()))
        found["mean"] = {
            name: sum(row[name] for row in found.values()) / len(found) for name in names
        }
    return found


async def _write(
    items: Items,
    draft: Model,
    grader: Grader,
    most_tokens: int,
    speech: PairSpeech,
    hotwords: str,
) -> Sequence[Completion | ContextTooLong]:
    """Solve problems; for one that exceeds the draft's context, its error is returned."""
    sampling = SamplingParams(max_tokens=most_tokens)

    async def one(item: Item) -> Completion | ContextTooLong:
        engines: dict[Role, Engine] = {"draft": draft.engine, "target": grader.targets[0]}
        conversation, _ = await speech.written(item.conversation, engines, hotwords=hotwords)
        item = replace(item, conversation=conversation)
        try:
            return await write(draft.engine, item, grader.step_format, sampling)
        except ContextTooLong as error:
            return error
        finally:
            draft.engine.forget(flatten(item.conversation))

    return await gather_bounded(items, one, _MOST)
