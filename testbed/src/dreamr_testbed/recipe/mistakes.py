"""Collect real mistakes of a draft for training the judge.

A mistake is a wrong step after right ones in the draft's own styles, as a gate encounters it. The
pool of mistakes is a JSON Lines file.

    python -m dreamr_testbed.recipe.mistakes --draft DIR --count 2000 --out FILE.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration

from dreamr.tooling import read_text, writing
from dreamr.training import BadTraining
from dreamr_testbed.command_line import at_least, errors_in_one_line
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.generate import first_wrong, solve
from dreamr_testbed.recipe.models import load_model, load_tokenizer
from dreamr_testbed.suites import EXTRA_SUITES, LEVELS, SUITES, Problem, make_problem

KNOWN = (*SUITES, *EXTRA_SUITES)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong step in place of the reference's step `len(styles)`.

    Attributes:
        suite: Suite of the problem.
        index: Index of the problem in the split 'train'.
        level: Level of the problem.
        styles: Styles of the right steps before the wrong one.
        text: Text of the wrong step.
    """

    suite: str
    index: int
    level: int
    styles: tuple[str, ...]
    text: str

    @property
    def problem(self) -> Problem:
        """Problem that the draft was solving."""
        return make_problem(self.suite, "train", self.index, self.level)


def collect(
    draft: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    start: int,
    count: int,
    temperature: float,
    suites: Sequence[str] = tuple(SUITES),
    levels: Sequence[int] = LEVELS,
    batch: int = 96,
) -> Iterator[Mistake]:
    """Yield the first mistake of each wrong solution.

    Args:
        draft: Model that writes the solutions.
        maker: Maker of the prompts.
        start: Index of the first problem.
        count: Number of solutions per suite and level.
        temperature: Sampling temperature; 0 for greedy decoding.
        suites: Suites of the problems.
        levels: Levels of the problems.
        batch: Solutions that are decoded together.
    """
    for suite in suites:
        for level in levels:
            for first in range(start, start + count, batch):
                indices = range(first, min(first + batch, start + count))
                problems = [make_problem(suite, "train", i, level) for i in indices]
                solutions = solve(draft, maker, problems, temperature=temperature)
                for problem, solution in zip(problems, solutions, strict=True):
                    styles, at = first_wrong(problem, solution.steps)
                    if at is not None and at < len(problem.steps):
                        text = solution.steps[at]
                        yield Mistake(suite, problem.index, level, tuple(styles), text)


def write(path: Path, mistakes: Iterator[Mistake]) -> int:
    """Append mistakes to a pool and return their number.

    Raises:
        Unwritable: If the pool cannot be written.
    """
    written = 0
    with writing(path), path.open("a") as file:
        for mistake in mistakes:
            file.write(json.dumps(asdict(mistake)) + "\n")
            written += 1
    return written


def read(path: Path) -> list[Mistake]:
    """Read a pool; it is empty if there is no file.

    Raises:
        BadTraining: If it cannot be read, or a line is not a mistake; the message names the line.
    """
    if not path.exists():
        return []
    lines = read_text(path, "pool of mistakes", BadTraining).splitlines()
    return [_mistake(path, number, line) for number, line in enumerate(lines, 1)]


def _mistake(path: Path, number: int, line: str) -> Mistake:
    try:
        row = json.loads(line)
        found = Mistake(**{**row, "styles": tuple(row["styles"])})
        correct = found.suite in KNOWN and found.level in LEVELS
        if not (correct and isinstance(found.index, int) and isinstance(found.text, str)):
            raise ValueError("a field has another value than those that are written")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadTraining(f"{path}, line {number} is not a mistake: delete the line") from error
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--draft", type=Path, required=True, help="Folder of the draft.")
    count = "Solutions per suite and level. Default: %(default)s."
    add("--count", type=at_least(1), default=2000, help=count)
    start = "Index of the first problem. Default: %(default)s."
    add("--start", type=at_least(0), default=10_000_000, help=start)
    temperature = "Sampling temperature; 0 is greedy. Default: %(default)s."
    suite = f"Suite, one of {', '.join(KNOWN)}. Repeatable. Default: {', '.join(SUITES)}."
    add("--suite", action="append", choices=KNOWN, metavar="SUITE", help=suite)
    level = "Level of the problems, 1 to 3. Repeatable. Default: all."
    add("--level", action="append", type=int, choices=LEVELS, metavar="LEVEL", help=level)
    add("--temperature", type=float, default=0.0, help=temperature)
    add("--out", type=Path, required=True, help="JSON Lines file to append to.")
    options = parser.parse_args(arguments)
    if not 0 <= options.temperature < math.inf:
        parser.error(f"--temperature must be at least 0, not {options.temperature:g}")
    torch.set_num_threads(1)
    torch.manual_seed(options.start)
    with errors_in_one_line(parser, f"the mistakes that were found are in {options.out}"):
        draft = load_model(options.draft).eval()
        maker = ExampleMaker(load_tokenizer(options.draft))
        problems = (options.suite or tuple(SUITES), options.level or LEVELS)
        given = (options.start, options.count, options.temperature)
        written = write(options.out, collect(draft, maker, *given, *problems))
    print(f"{written} mistakes in {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
