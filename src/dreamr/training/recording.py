"""Runs on the problems of a task, kept as records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dreamr._concurrency import gather_bounded
from dreamr._files import writing
from dreamr._options import RunOptions
from dreamr.engines import OpenModel, open_model
from dreamr.evaluation.bench import Models
from dreamr.runner import run
from dreamr.training.errors import BadTraining
from dreamr.training.problems import Problems
from dreamr.training.records import Records, record_of, repair, to_line


async def record(
    problems: Problems,
    out: Path,
    options: RunOptions,
    *,
    most: int = 8,
    open_model: OpenModel = open_model,
    on_done: Callable[[int, str], None] = lambda done, name: None,
) -> None:
    """Run the method of the options on every problem that the file does not hold yet.

    Args:
        problems: what to solve.
        out: the file; records are added at its end, each whole.
        options: models and method.
        most: runs under way at a time.
        open_model: opens the models.
        on_done: called with how many are done, and the name of the last.

    Raises:
        BadTraining: the file holds something else.
        Unwritable: it cannot be written.
        RunFailed: a model was lost.
    """
    done = _recover(out, options.method)
    left = [number for number in range(len(problems)) if problems.name(number) not in done]
    if not left:
        return
    with writing(out):
        file = out.open("a", encoding="utf-8")
    with file:
        async with Models(options, frozenset(options.roles), open_model) as models:
            config = models.run_config(options)
            engines = {role: models[role].engine for role in options.roles}

            async def solve(number: int) -> None:
                item, name = problems[number], problems.name(number)
                result = await run(
                    item.conversation,
                    target=engines.get("target"),
                    draft=engines.get("draft"),
                    config=config,
                )
                for engine in engines.values():
                    engine.forget(item.conversation)
                right = item.right(result.answer)
                file.write(to_line(record_of(name, item.conversation, result, right)) + "\n")
                file.flush()
                done.add(name)
                on_done(len(done), name)

            await gather_bounded(left, solve, most)


def _recover(out: Path, method: str) -> set[str]:
    """The names of what is there.

    Raises:
        BadTraining: it is of another method, or no record.
    """
    if not out.exists():
        return set()
    names = set()
    for one in Records([out]):
        names.add(one.name)
        if one.method != method:
            raise BadTraining(f"{out} holds records of method {one.method}: name another file")
    repair(out)
    return names
