"""How good the pair is: answers of each model alone, and the target's judgement of real steps.

    python -m dreamr.training.evaluate --target DIR --draft DIR --count 1000 --out FILE.json

Judging is measured on what the draft wrote by itself, greedily, on fresh problems: every step
up to and including its first wrong one, against the suites' references. `--blind` shows the
draft blank pictures.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from dreamr._provenance import provenance
from dreamr.gate import FixedGate
from dreamr.tasks import SIDE, SUITES, Problem, is_correct, make_problem
from dreamr.training._examples import ExampleMaker, collate
from dreamr.training._generate import Solution, first_wrong, solve
from dreamr.training._loop import predictions
from dreamr.training._models import load_model

BATCH = 50
ALPHA = FixedGate().threshold  # for the shares that are accepted


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one problem: whether the answer is right, and how many tokens it took."""

    right: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One problem.

    judged: for each of the draft's steps up to its first wrong one, the target's ratio and whether
    the step is right; empty without a target.
    """

    suite: str
    kind: str
    draft: Answer
    target: Answer | None
    judged: tuple[tuple[float, bool], ...]


@dataclass(frozen=True, slots=True)
class Exam:
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
        drafted = solve(_model(self.draft), maker, problems, pictures=blank)
        written: Sequence[Solution | None] = [None] * count
        if self.target is not None:
            written = solve(_model(self.target), maker, problems)
        return [
            Outcome(
                suite,
                problem.kind,
                _answer(problem, by_draft),
                _answer(problem, by_target) if by_target else None,
                tuple(self._judged(maker, problem, by_draft.steps)),
            )
            for problem, by_draft, by_target in zip(problems, drafted, written, strict=True)
        ]

    def _judged(
        self, maker: ExampleMaker, problem: Problem, steps: Sequence[str]
    ) -> Iterator[tuple[float, bool]]:
        _, wrong = first_wrong(problem, steps)
        steps = steps if wrong is None else steps[: wrong + 1]
        if self.target is not None and steps:
            ratios = judge_steps(_model(self.target), maker, problem, steps)
            yield from ((ratio, at != wrong) for at, ratio in enumerate(ratios))


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
    batch = collate([maker.judged(problem, steps)], 0)
    logits, _ = predictions(target, batch)
    pair = logits[:, maker.verdict_ids].softmax(-1)
    return [float(p) for p in pair[:, 0]]


def examine(exam: Exam, count: int, workers: int) -> list[Outcome]:
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
        row["judge"] = _judging([pair for o in outcomes for pair in o.judged])
    return row


def _accuracy(answers: Sequence[tuple[str, Answer]]) -> dict[str, Any]:
    right = sum(answer.right for _, answer in answers)
    low, high = wilson(right, len(answers))
    kinds: dict[str, list[bool]] = {}
    for kind, answer in answers:
        kinds.setdefault(kind, []).append(answer.right)
    return {
        "accuracy": right / len(answers),
        "low": low,
        "high": high,
        "tokens": sum(answer.tokens for _, answer in answers) / len(answers),
        "kinds": {kind: sum(ones) / len(ones) for kind, ones in sorted(kinds.items())},
    }


def _judging(judged: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    ratios, right = [ratio for ratio, _ in judged], [is_right for _, is_right in judged]
    return {
        "steps": len(judged),
        "wrong": right.count(False),
        "auroc": roc_auc_score(right, ratios) if len(set(right)) > 1 else None,
        "accepted": _share_accepted(ratios),
        "false_accepts": _share_accepted([r for r, is_right in judged if not is_right]),
        "false_rejects": 1 - _share_accepted([r for r, is_right in judged if is_right]),
    }


def _share_accepted(ratios: Sequence[float]) -> float:
    return sum(ratio > ALPHA for ratio in ratios) / len(ratios) if ratios else 0.0


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson interval of a share."""
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / count / 4)
    return middle - half, middle + half


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
    exam = Exam(options.target, options.draft, options.blind)
    outcomes = examine(exam, options.count, options.workers)
    found = {suite: figures(o for o in outcomes if o.suite == suite) for suite in SUITES}
    text = json.dumps({"provenance": provenance(), "figures": found}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
