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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from dreamr._provenance import provenance
from dreamr.tasks import SIDE, SUITES, Problem, is_correct, make_problem
from dreamr.training._examples import ExampleMaker, collate
from dreamr.training._generate import Solution, first_wrong, solve
from dreamr.training._loop import predictions
from dreamr.training._models import load_model

BATCH = 50


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson interval of a share."""
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / count / 4)
    return middle - half, middle + half


def solve_all(
    model: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problems: Sequence[Problem],
    blind: bool = False,
) -> list[Solution]:
    """Greedy solutions in batches, progress on standard error."""
    solutions: list[Solution] = []
    for first in range(0, len(problems), BATCH):
        chosen = problems[first : first + BATCH]
        blank = torch.zeros(len(chosen), 3, SIDE, SIDE) if blind else None
        solutions += solve(model, maker, chosen, pictures=blank)
        print(f"\r{len(solutions)}/{len(problems)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return solutions


@torch.inference_mode()
def judge_steps(
    target: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problem: Problem,
    steps: Sequence[str],
) -> list[float]:
    """The target's ratio for each of several consecutive steps, in one pass."""
    example = maker.judged(problem, steps)
    batch = collate([example], 0)
    logits, _ = predictions(target, batch)
    pair = logits[:, maker.verdict_ids].softmax(-1)
    return [float(p) for p in pair[:, 0]]


def judging(
    target: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problems: Sequence[Problem],
    solutions: Sequence[Solution],
) -> tuple[list[float], list[bool]]:
    """Ratios of the draft's steps, and whether each is right."""
    ratios: list[float] = []
    right: list[bool] = []
    for problem, solution in zip(problems, solutions, strict=True):
        _, wrong = first_wrong(problem, solution.steps)
        steps = solution.steps if wrong is None else solution.steps[: wrong + 1]
        if not steps:
            continue
        ratios += judge_steps(target, maker, problem, steps)
        right += [at != wrong for at in range(len(steps))]
    return ratios, right


def report(
    target: LlavaForConditionalGeneration | None,
    draft: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    count: int,
    blind: bool = False,
    alpha: float = 0.7,
) -> dict[str, Any]:
    """All figures, by suite."""
    from sklearn.metrics import roc_auc_score

    figures: dict[str, Any] = {}
    for suite in SUITES:
        problems = [make_problem(suite, "test", index) for index in range(count)]
        row: dict[str, Any] = {}
        drafted = solve_all(draft, maker, problems, blind)
        row["draft"] = _answers(problems, drafted)
        if target is not None:
            row["target"] = _answers(problems, solve_all(target, maker, problems))
            ratios, right = judging(target, maker, problems, drafted)
            passed = [ratio > alpha for ratio in ratios]
            row["judge"] = {
                "steps": len(right),
                "wrong": right.count(False),
                "auroc": roc_auc_score(right, ratios) if len(set(right)) > 1 else None,
                "accepted": sum(passed) / len(passed),
                "false_accepts": _share(passed, right, False),
                "false_rejects": 1 - _share(passed, right, True),
            }
        figures[suite] = row
        print(suite, json.dumps(row), file=sys.stderr)
    return figures


def _answers(problems: Sequence[Problem], solutions: Sequence[Solution]) -> dict[str, Any]:
    right = [is_correct(p, s.text) for p, s in zip(problems, solutions, strict=True)]
    low, high = wilson(sum(right), len(problems))
    tokens = sum(s.tokens for s in solutions) / len(solutions)
    kinds: dict[str, list[bool]] = {}
    for problem, one in zip(problems, right, strict=True):
        kinds.setdefault(type(problem.scene).__name__.lower(), []).append(one)
    return {
        "accuracy": sum(right) / len(problems),
        "low": low,
        "high": high,
        "tokens": tokens,
        "kinds": {kind: sum(ones) / len(ones) for kind, ones in sorted(kinds.items())},
    }


def _share(passed: Sequence[bool], right: Sequence[bool], which: bool) -> float:
    chosen = [p for p, r in zip(passed, right, strict=True) if r is which]
    return sum(chosen) / len(chosen) if chosen else 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path)
    parser.add_argument("--draft", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--blind", action="store_true", help="blank pictures for the draft")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    maker = ExampleMaker(PreTrainedTokenizerFast.from_pretrained(options.draft))
    target = load_model(options.target).eval() if options.target else None
    figures = report(target, load_model(options.draft).eval(), maker, options.count, options.blind)
    text = json.dumps({"provenance": provenance(), "figures": figures}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
