"""Evaluate the pair: answers of each model alone, and the target's verdicts on the draft's steps.

    python -m dreamr_testbed.recipe.evaluate --target DIR --draft DIR --count 1000 --out FILE.json

The judge is evaluated on the draft's greedy solutions of test problems: on each step up to and
including the first wrong one, compared with the suite's reference. The judges of other methods are
evaluated on the same steps: a score from 0 to 9, and whether a step has the same meaning as the
reference's, for steps that differ from it. `--blind` shows the draft blank images. `--clean`
draws the images smoothly, as those of files are; `--named` shows pages below the name of a file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import compress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import torch
from rich.progress import track
from transformers import LlavaForConditionalGeneration

from dreamr.evaluation.report import wilson
from dreamr.gate import RatioGate, SameGate
from dreamr.tooling import Output, provenance
from dreamr.training import BadTraining
from dreamr_testbed.command_line import at_least, errors_in_one_line
from dreamr_testbed.recipe.branches import same_question
from dreamr_testbed.recipe.collate import collate
from dreamr_testbed.recipe.examples import Example, ExampleMaker
from dreamr_testbed.recipe.generate import Solution, first_wrong, solve
from dreamr_testbed.recipe.loop import predictions
from dreamr_testbed.recipe.models import load_model, load_tokenizer
from dreamr_testbed.recipe.tokens import SCORE_QUESTION
from dreamr_testbed.suites import (
    EXTRA_SUITES,
    LEVELS,
    SUITES,
    Problem,
    is_correct,
    make_problem,
)
from dreamr_testbed.suites.clean import clean
from dreamr_testbed.suites.file_names import with_file_name

BATCH = 50
# Thresholds; a score is the expected value over the ten digits, divided by 9.
JUDGES = {"judge": RatioGate().threshold, "score": 6.5 / 9, "same": SameGate().threshold}

Judged: TypeAlias = tuple[float, bool]  # score of a step, and whether the step is right


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a model on one problem: whether the answer is right, and its length in tokens."""

    right: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results on one problem.

    Attributes:
        suite: Suite of the problem.
        kind: Kind of the scene.
        level: Level of the problem.
        draft: Result of the draft.
        target: Result of the target, if it is evaluated.
        judged: For each judge the scores of the draft's steps up to the first wrong one; empty
            without a target.
    """

    suite: str
    kind: str
    level: int
    draft: Answer
    target: Answer | None
    judged: Mapping[str, tuple[Judged, ...]]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluation of a pair.

    Attributes:
        target: Folder of the target; None to evaluate the draft only.
        draft: Folder of the draft.
        blind: Whether to show the draft blank images.
        level: Level of the problems. None: each problem draws its level.
        clean: Whether to draw the images as those of a file look, smooth and without noise.
        named: Whether documents have names of files.
    """

    target: Path | None
    draft: Path
    blind: bool = False
    level: int | None = None
    clean: bool = False
    named: bool = False

    def outcomes(self, suite: str, first: int, count: int) -> list[Outcome]:
        """Evaluate test problems `first` to `first + count - 1` of a suite."""
        torch.set_num_threads(1)
        maker = ExampleMaker(load_tokenizer(self.draft))
        problems = [make_problem(suite, "test", first + i, self.level) for i in range(count)]
        if self.clean:
            problems = list(map(clean, problems))
        if self.named:
            problems = list(map(with_file_name, problems))
        drafted = solve(_model(self.draft), maker, problems, blank=self.blind)
        written: Sequence[Solution | None] = [None] * count
        if self.target is not None:
            written = solve(_model(self.target), maker, problems)
        return [
            Outcome(
                suite,
                problem.kind,
                problem.level,
                _answer(problem, by_draft),
                _answer(problem, by_target) if by_target else None,
                self._judged(maker, problem, by_draft.steps),
            )
            for problem, by_draft, by_target in zip(problems, drafted, written, strict=True)
        ]

    def _judged(
        self, maker: ExampleMaker, problem: Problem, steps: Sequence[str]
    ) -> dict[str, tuple[Judged, ...]]:
        _, wrong = first_wrong(problem, steps)
        steps = steps if wrong is None else steps[: wrong + 1]
        if self.target is None or not steps:
            return {}
        model = _model(self.target)
        right = [at != wrong for at in range(len(steps))]
        ratios = judge_steps(model, maker, problem, steps)
        scores = score_steps(model, maker, problem, steps)
        others = [step.terse for step in problem.steps[: len(steps)]]
        alike = compare_steps(model, maker, problem, steps[: len(others)], others)
        asked = [step != other for step, other in zip(steps, others, strict=False)]
        return {
            "judge": tuple(zip(ratios, right, strict=True)),
            "score": tuple(zip(scores, right, strict=True)),
            "same": tuple(compress(zip(alike, right, strict=False), asked)),
        }


@cache
def _model(path: Path) -> LlavaForConditionalGeneration:
    return load_model(path).eval()


def _answer(problem: Problem, solution: Solution) -> Answer:
    return Answer(is_correct(problem, solution.text), solution.tokens)


@torch.inference_mode()
def judge_steps(
    target: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problem: Problem,
    steps: Sequence[str],
) -> list[float]:
    """Judge the steps of a solution, from its beginning, in one forward pass.

    Returns:
        Ratio of each step, in [0, 1].
    """
    return _ratios(target, maker, maker.judged(problem, steps))


@torch.inference_mode()
def score_steps(
    target: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problem: Problem,
    steps: Sequence[str],
) -> list[float]:
    """Score the steps of a solution, from its beginning, in one forward pass.

    Returns:
        Expected value of the score of each step, divided by 9, in [0, 1].
    """
    asked = maker.judged(problem, steps, [SCORE_QUESTION] * len(steps))
    logits, _ = predictions(target, collate([asked], 0))
    shares = logits[:, maker.score_ids].softmax(-1)
    return [float(mean) / 9 for mean in shares @ torch.arange(10.0)]


@torch.inference_mode()
def compare_steps(
    target: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problem: Problem,
    steps: Sequence[str],
    others: Sequence[str],
) -> list[float]:
    """Compare consecutive steps with other texts in one forward pass.

    Args:
        target: The target.
        maker: Maker of the input.
        problem: The problem.
        steps: Steps from the beginning of a solution.
        others: A text for each step.

    Returns:
        Ratio of each step for having the same meaning as the other text, in [0, 1].
    """
    return _ratios(target, maker, maker.judged(problem, steps, list(map(same_question, others))))


def _ratios(
    target: LlavaForConditionalGeneration, maker: ExampleMaker, asked: Example
) -> list[float]:
    logits, _ = predictions(target, collate([asked], 0))
    pair = logits[:, maker.verdict_ids].softmax(-1)
    return [float(p) for p in pair[:, 0]]


def evaluate(
    evaluator: Evaluator, count: int, workers: int, suites: Sequence[str] = tuple(SUITES)
) -> list[Outcome]:
    """Evaluate `count` problems per suite in several processes and show progress.

    Raises:
        ModelNotFound: If a model cannot be loaded.
    """
    outcomes: list[Outcome] = []
    # Spawned, since torch does not support fork once it has started threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(evaluator.outcomes, suite, first, min(BATCH, count - first))
            for first in range(0, count, BATCH)
            for suite in suites
        ]
        try:
            for part in track(as_completed(parts), "Problems", total=len(parts)):
                outcomes += part.result()
        except BaseException:  # also Ctrl-C; else the pool would evaluate the rest first
            pool.shutdown(cancel_futures=True)
            raise
    return outcomes


def figures(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Summarize the results on one suite: accuracy with 95 % intervals, and each judge's errors."""
    outcomes = list(outcomes)
    row: dict[str, Any] = {"draft": _accuracy([(o, o.draft) for o in outcomes])}
    if targets := [(o, o.target) for o in outcomes if o.target is not None]:
        row["target"] = _accuracy(targets)
        for name, threshold in JUDGES.items():
            judged = [pair for o in outcomes for pair in o.judged.get(name, ())]
            row[name] = _judging(judged, threshold)
    return row


def _accuracy(answers: Sequence[tuple[Outcome, Answer]]) -> dict[str, Any]:
    right = sum(answer.right for _, answer in answers)
    share = wilson(right, len(answers))
    kinds: dict[str, list[bool]] = {}
    levels: dict[str, list[bool]] = {}
    for outcome, answer in answers:
        kinds.setdefault(outcome.kind, []).append(answer.right)
        levels.setdefault(str(outcome.level), []).append(answer.right)
    return {
        "accuracy": share.value,
        "low": share.low,
        "high": share.high,
        "tokens": sum(answer.tokens for _, answer in answers) / len(answers),
        "kinds": {kind: sum(ones) / len(ones) for kind, ones in sorted(kinds.items())},
        "levels": {level: sum(ones) / len(ones) for level, ones in sorted(levels.items())},
    }


def _judging(judged: Sequence[Judged], threshold: float) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    def accepted(values: Sequence[float]) -> float:
        return sum(value >= threshold for value in values) / len(values) if values else 0.0

    ratios, right = [ratio for ratio, _ in judged], [is_right for _, is_right in judged]
    return {
        "steps": len(judged),
        "wrong": right.count(False),
        "auroc": roc_auc_score(right, ratios) if len(set(right)) > 1 else None,
        "accepted": accepted(ratios),
        "false_accepts": accepted([r for r, is_right in judged if not is_right]),
        "false_rejects": 1 - accepted([r for r, is_right in judged if is_right]),
    }


def _check_tokenizers(target: Path | None, draft: Path) -> None:
    """Check that both models have the same tokens, since one tokenizer serves both.

    Raises:
        BadTraining: If they have others.
        ModelNotFound: If there is no model.
    """
    tokens = load_tokenizer(draft).get_vocab()
    if target is not None and load_tokenizer(target).get_vocab() != tokens:
        raise BadTraining(f"{target} and {draft} have other tokens: name models of one pair")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--target", type=Path, help="Folder of the target. Default: evaluate the draft only.")
    add("--draft", type=Path, required=True, help="Folder of the draft.")
    add("--count", type=at_least(1), default=1000, help="Problems per suite. Default: %(default)s.")
    known, default = (*SUITES, *EXTRA_SUITES), ", ".join(SUITES)
    suite = f"Suite, one of {', '.join(known)}. Repeatable. Default: {default}."
    add("--suite", action="append", choices=known, metavar="SUITE", help=suite)
    level = "Level of the problems, 1 to 3. Default: each problem draws its level."
    add("--level", type=int, choices=LEVELS, metavar="LEVEL", help=level)
    add("--blind", action="store_true", help="Show the draft blank images.")
    smooth = "Draw the images as those of a file look: smooth, without rotation and noise."
    add("--clean", action="store_true", help=smooth)
    add("--named", action="store_true", help="Show pages of documents below the name of a file.")
    workers = "Processes with one thread each. Default: %(default)s."
    add("--workers", type=at_least(1), default=1, help=workers)
    add("--out", type=Path, help="JSON file to write.")
    options = parser.parse_args(arguments)
    evaluator = Evaluator(
        options.target,
        options.draft,
        options.blind,
        options.level,
        options.clean,
        options.named,
    )
    suites = tuple(dict.fromkeys(options.suite or SUITES))
    with errors_in_one_line(parser, "nothing was written"), ExitStack() as stack:
        _check_tokenizers(options.target, options.draft)
        # Opened before the problems are solved, which can take hours.
        file = stack.enter_context(Output(options.out)) if options.out else None
        outcomes = evaluate(evaluator, options.count, options.workers, suites)
        found = {suite: figures(o for o in outcomes if o.suite == suite) for suite in suites}
        text = json.dumps({"provenance": provenance(), "figures": found}, indent=2)
        print(text)
        if file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
