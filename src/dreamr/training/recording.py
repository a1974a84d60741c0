"""Run a method on the problems of a task and store the runs as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dreamr._concurrency import gather_bounded
from dreamr._options import RunOptions
from dreamr.engines import OpenModel, open_model
from dreamr.errors import RunFailed
from dreamr.evaluation.bench import Models
from dreamr.evaluation.tasks import Item
from dreamr.trace import Result
from dreamr.training.errors import BadTraining
from dreamr.training.problems import Problems
from dreamr.training.record_file import RecordFile
from dreamr.training.records import Records, record_of

_FAILURES = 5  # consecutive failed problems, after which a recording is aborted


async def record(
    problems: Problems,
    out: Path,
    options: RunOptions,
    *,
    most: int = 8,
    open_model: OpenModel = open_model,
    on_done: Callable[[int, str], None] = lambda done, name: None,
) -> None:
    """Run a method on every problem that is not in the file yet and append the records.

    A problem whose run fails is left out, so the next recording into the file runs it again.

    Args:
        problems: Problems to solve.
        out: JSON Lines file. An existing one is resumed; a truncated last line is removed first.
        options: Models and method. Load control is off: its runs are not all of that method.
        most: Maximum concurrent runs.
        open_model: Function that opens a model.
        on_done: Called with the number of records in the file and the name of the last one.

    Raises:
        BadTraining: If the file is not a file of records, or holds records of another method or of
            other models.
        Unwritable: If the file cannot be written.
        EngineLost: If a model is lost and cannot be opened again.
        RunFailed: If runs failed, after the other problems are recorded; at once if several in a
            row fail, or a model is lost at both attempts to solve a problem.
        Unsupported: If the models cannot do what the options require.
    """
    options = replace(options, load_aware=False)
    with RecordFile(out, alone=True) as file:
        identities: dict[str, str] = {role: options.source(role).identity for role in options.roles}
        done = _recorded(out, options.method, identities)
        left = [number for number in range(len(problems)) if problems.name(number) not in done]
        if not left:
            return
        failures = _Failures()
        async with Models(options, frozenset(options.roles), open_model) as models:

            async def solve(number: int) -> None:
                item, name = problems[number], problems.name(number)
                try:
                    result = await _solve(models, item, options)
                except RunFailed as error:
                    failures.add(error)
                    return
                failures.in_a_row = 0
                right = item.right(result.answer)
                one = record_of(name, item.conversation, result, right)
                file.add(replace(one, models=identities))
                done.add(name)
                on_done(len(done), name)

            await gather_bounded(left, solve, most)
        failures.check()


@dataclass
class _Failures:
    """Problems of a recording that failed.

    Attributes:
        all: Their errors.
        in_a_row: Number of problems that have failed since one was recorded.
    """

    all: list[RunFailed] = field(default_factory=list)
    in_a_row: int = 0

    def add(self, error: RunFailed) -> None:
        """Count a failed problem, and end the recording if the next would fail too."""
        if error.lost:
            raise error
        self.all.append(error)
        self.in_a_row += 1
        if self.in_a_row == _FAILURES:
            after = f"{_FAILURES} problems in a row failed, those before are recorded"
            raise RunFailed(f"{error}; {after}", error.result) from error

    def check(self) -> None:
        """Raise the first failure, if there is one."""
        if self.all:
            first, several = self.all[0], len(self.all) > 1
            count = f"{len(self.all)} problems failed, " if several else ""
            raise RunFailed(f"{first}; {count}the other problems are recorded", first.result)


async def _solve(models: Models, item: Item, options: RunOptions) -> Result:
    """Run a problem, with a second attempt if a model was lost.

    Raises:
        RunFailed: If it fails; the message begins with the problem.
    """
    try:
        try:
            result = await models.run(item.conversation, options)
        except RunFailed as error:
            if not error.lost:
                raise
            result = await models.run(item.conversation, options)  # with models opened again
        if result.error is not None:
            raise RunFailed(result.error, result)
    except RunFailed as error:
        named = RunFailed(f"{item.task} {item.index}: {error}", error.result)
        named.lost = error.lost
        raise named from error
    return result


def _recorded(out: Path, method: str, models: Mapping[str, str]) -> set[str]:
    """Return the names of the records in a file.

    Raises:
        BadTraining: If a line is not a record, or is of another method or of other models.
    """
    names: set[str] = set()
    if not out.is_file():  # a pipe or a device
        return names
    for one in Records([out]):
        names.add(one.name)
        if one.method != method:
            raise BadTraining(f"{out} holds records of method {one.method}: name another file")
        for role, model in models.items():
            if (stored := one.models.get(role, model)) != model:
                raise BadTraining(
                    f"{out} holds records of another {role} ({stored}, now {model}): name another "
                    "file"
                )
    return names
