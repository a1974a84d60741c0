"""How good the pair is: answers of each model alone, and the target's judgement of real steps.

    python -m dreamr_testbed.recipe.evaluate --target DIR --draft DIR --count 1000 --out FILE.json

Judging is measured on what the draft wrote by itself, greedily, on fresh problems: every step
up to and including its first wrong one, against the suites' references. So are the judges of other
methods: the score from 0 to 9, and whether a step says the same as another, here the reference's
where the draft wrote something else. `--blind` shows the draft blank pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from itertools import compress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import torch
from rich.progress import track
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from dreamr._provenance import provenance
from dreamr.evaluation.report import wilson
from dreamr.evaluation.tasks import SIDE, SUITES, Problem, is_correct, make_problem
from dreamr.gate import RatioGate, SameGate
from dreamr_testbed.recipe.examples import Example, ExampleMaker, collate, same_question
from dreamr_testbed.recipe.generate import Solution, first_wrong, solve
from dreamr_testbed.recipe.loop import predictions
from dreamr_testbed.recipe.models import load_model
from dreamr_testbed.recipe.tokens import SCORE_QUESTION

BATCH = 50
# From which value on each judge accepts; a score's is its mean over the digits, as a share of 9.
JUDGES = {"judge": RatioGate().threshold, "score": 6.5 / 9, "same": SameGate().threshold}

Judged: TypeAlias = tuple[float, bool]  # a judge's value for a step, and whether that is right


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one problem: whether the answer is right, and how many tokens it took."""

    right: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One problem.

    judged: for each judge what it says of the draft's steps up to the first wrong one; empty
    without a target.
    """

    suite: str
    kind: str
    draft: Answer
    target: Answer | None
    judged: Mapping[str, tuple[Judged, ...]]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Who is examined. target: None where only the draft is looked at."""

    target: Path | None
    draft: Path
    blind: bool = False

    def sit(self, suite: str, first: int, count: int) -> list[Outcome]:
        """The outcomes of test problems first .. first + count of a suite."""
        torch.set_num_threads(1)
        maker = ExampleMaker(PreTrainedTokenizerFast.from_pretrained(self.draft))
        problems = [make_problem(suite, "test", first + i) for i in range(count)]
        blank = torch.zeros(count, 3, SIDE, SIDE) if self.blind else None
        drafted = solve(_model(self.draft), maker, problems, images=blank)
        written: Sequence[Solution | None] = [None] * count
        if self.target is not None:
            written = solve(_model(self.target), maker, problems)
        return [
            Outcome(
                suite,
                problem.kind,
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
    """The target's ratio for each of several consecutive steps, in one pass."""
    return _ratios(target, maker, maker.judged(problem, steps))


@torch.inference_mode()
def score_steps(
    target: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problem: Problem,
    steps: Sequence[str],
) -> list[float]:
    """The target's score of each of several steps as a share of 9: the mean over the digits."""
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
    """The target's ratio for each of several steps to say the same as another."""
    return _ratios(target, maker, maker.judged(problem, steps, list(map(same_question, others))))


def _ratios(
    target: LlavaForConditionalGeneration, maker: ExampleMaker, asked: Example
) -> list[float]:
    logits, _ = predictions(target, collate([asked], 0))
    pair = logits[:, maker.verdict_ids].softmax(-1)
    return [float(p) for p in pair[:, 0]]


def examine(exam: Evaluator, count: int, workers: int) -> list[Outcome]:
    """Outcomes of `count` problems a suite, in batches by several processes; shows progress."""
    outcomes: list[Outcome] = []
    # Spawned, as torch does not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(exam.sit, suite, first, min(BATCH, count - first))
            for first in range(0, count, BATCH)
            for suite in SUITES
        ]
        for part in track(as_completed(parts), "Problems", total=len(parts)):
            outcomes += part.result()
    return outcomes


def figures(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Shares and intervals of the outcomes of one suite."""
    outcomes = list(outcomes)
    row: dict[str, Any] = {"draft": _accuracy([(o.kind, o.draft) for o in outcomes])}
    if targets := [(o.kind, o.target) for o in outcomes if o.target is not None]:
        row["target"] = _accuracy(targets)
        for name, threshold in JUDGES.items():
            judged = [pair for o in outcomes for pair in o.judged.get(name, ())]
            row[name] = _judging(judged, threshold)
    return row


def _accuracy(answers: Sequence[tuple[str, Answer]]) -> dict[str, Any]:
    right = sum(answer.right for _, answer in answers)
    share = wilson(right, len(answers))
    kinds: dict[str, list[bool]] = {}
    for kind, answer in answers:
        kinds.setdefault(kind, []).append(answer.right)
    return {
        "accuracy": share.value,
        "low": share.low,
        "high": share.high,
        "tokens": sum(answer.tokens for _, answer in answers) / len(answers),
        "kinds": {kind: sum(ones) / len(ones) for kind, ones in sorted(kinds.items())},
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path)
    parser.add_argument("--draft", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000, help="problems a suite")
    parser.add_argument("--blind", action="store_true", help="blank pictures for the draft")
    parser.add_argument("--workers", type=int, default=1, help="processes, a thread each")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    exam = Evaluator(options.target, options.draft, options.blind)
    outcomes = examine(exam, options.count, options.workers)
    found = {suite: figures(o for o in outcomes if o.suite == suite) for suite in SUITES}
    text = json.dumps({"provenance": provenance(), "figures": found}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
