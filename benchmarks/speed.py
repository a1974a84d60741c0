"""Wall-clock of each method against the target alone, on fresh problems of every suite.

    python benchmarks/speed.py --count 200 --out benchmarks/results/speed.json

Methods take turns problem by problem over the same two engines, so that a noisy machine hits all
alike; a warm-up is not counted. Reported are the ratio of sums with a bootstrap interval, its two
factors (time a token, tokens an answer), the paired difference in accuracy with its interval, and
acceptance. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from dreamr import Conversation, RunOptions, read_image
from dreamr._provenance import provenance
from dreamr._reasoner import open_local
from dreamr.runner import run
from dreamr.tasks import MARKER, SUITES, is_correct, make_problem
from dreamr.trace import Result, StepRejected

METHODS: dict[str, dict[str, Any]] = {
    "target": {"method": "target"},
    "sequential": {"method": "sequential"},
    "fpsr": {"method": "fpsr"},
    # The target does not write while it has to judge, which one processor does in turns anyway.
    "fpsr, hedge idle": {"method": "fpsr", "hedge": "idle"},
    # And it judges the draft's answer instead of writing its own.
    "fpsr, answer judged": {"method": "fpsr", "hedge": "idle", "answer": "verified"},
}


@dataclass(frozen=True)
class Sample:
    """One problem with one method. tokens: of the committed text."""

    suite: str
    method: str
    seconds: float
    tokens: int
    right: bool
    accepted: int
    judged: int
    steps: int
    finish: str


def sample(suite: str, method: str, result: Result, right: bool) -> Sample:
    drafted = [step for step in result.steps if step.source == "draft"]
    rejected = sum(isinstance(event, StepRejected) for event in result.events)
    return Sample(
        suite,
        method,
        result.seconds,
        sum(step.step.tokens for step in result.steps),
        right,
        len(drafted),
        len(drafted) + rejected,
        len(result.steps),
        result.finish,
    )


async def measure(options: argparse.Namespace, methods: list[str]) -> tuple[list[Sample], float]:
    """All samples, and the memory (MB) of this process and both workers at the end."""
    base = RunOptions(target=options.target, draft=options.draft)
    target, draft = await open_local("target", base), await open_local("draft", base)
    samples = []
    try:
        for index in range(-3, options.count):  # the first three warm up
            for suite in SUITES:
                problem = make_problem(suite, "test", options.first + index % options.count)
                conversation = Conversation.ask(problem.question, read_image(problem.picture))
                for method in random.Random(index).sample(methods, len(methods)):
                    chosen = replace(base, **METHODS[method])
                    settings = replace(chosen.settings(), cutting=target.cutting)
                    engine = None if method == "target" else draft.engine
                    result = await run(
                        conversation, target=target.engine, draft=engine, settings=settings
                    )
                    right = is_correct(problem, f"{MARKER} {result.answer}")
                    if index >= 0:
                        samples.append(sample(suite, method, result, right))
            print(f"\r{index + 1}/{options.count}", end="", file=sys.stderr, flush=True)
        memory = sum(map(resident, (os.getpid(), target.engine.pid, draft.engine.pid)))
    finally:
        await target.engine.aclose()
        await draft.engine.aclose()
    print(file=sys.stderr)
    return samples, memory


def resident(pid: int) -> float:
    """Memory of a process in MB, what it shares with others counted in proportion."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def interval(pairs: list[tuple[float, float]], draws: int = 2000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the ratio of sums."""
    rng = random.Random(0)
    ratios = []
    for _ in range(draws):
        drawn = rng.choices(pairs, k=len(pairs))
        ratios.append(sum(a for a, _ in drawn) / sum(b for _, b in drawn))
    ratios.sort()
    return ratios[int(0.025 * draws)], ratios[int(0.975 * draws)]


def difference(pairs: list[tuple[bool, bool]]) -> dict[str, float]:
    """The paired difference of two accuracies (second - first) with its 95 % interval, points."""
    deltas = [100.0 * (int(b) - int(a)) for a, b in pairs]
    mean = sum(deltas) / len(deltas)
    spread = (sum((d - mean) ** 2 for d in deltas) / max(1, len(deltas) - 1)) ** 0.5
    half = 1.96 * spread / len(deltas) ** 0.5
    return {"points": mean, "low": mean - half, "high": mean + half}


def figures(base: list[Sample], own: list[Sample]) -> dict[str, Any]:
    pairs = [(a.seconds, b.seconds) for a, b in zip(base, own, strict=True)]
    seconds, base_seconds = sum(b for _, b in pairs), sum(a for a, _ in pairs)
    tokens, base_tokens = sum(s.tokens for s in own), sum(s.tokens for s in base)
    low, high = interval(pairs)
    judged = sum(s.judged for s in own)
    return {
        "speedup": base_seconds / seconds,
        "low": low,
        "high": high,
        "time_a_token": (base_seconds / base_tokens) / (seconds / tokens),
        "tokens_an_answer": base_tokens / tokens,
        "accuracy": sum(s.right for s in own) / len(own),
        "difference": difference([(a.right, b.right) for a, b in zip(base, own, strict=True)]),
        "accepted": sum(s.accepted for s in own) / judged if judged else None,
        "seconds_a_problem": seconds / len(own),
        "unfinished": sum(s.finish not in ("answer", "stop") for s in own),
    }


def table(samples: list[Sample], methods: list[str]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for suite in SUITES:
        chosen = [s for s in samples if s.suite == suite]
        base = [s for s in chosen if s.method == "target"]
        rows[suite] = {m: figures(base, [s for s in chosen if s.method == m]) for m in methods}
    rows["mean"] = {
        m: {
            key: sum(rows[suite][m][key] for suite in SUITES) / len(SUITES)
            for key in ("speedup", "time_a_token", "tokens_an_answer", "accuracy")
        }
        for m in methods
    }
    return rows


def origin(options: argparse.Namespace, memory: float) -> dict[str, Any]:
    return {
        **provenance(),
        "problems_a_suite": options.count,
        "first_problem": options.first,
        "memory_mb": round(memory),
    }


def markdown(rows: dict[str, Any], methods: list[str]) -> str:
    head = [
        "suite",
        "method",
        "speed-up",
        "a token",
        "tokens",
        "accuracy",
        "difference",
        "accepted",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for suite in SUITES:
        for m in methods:
            f = rows[suite][m]
            accepted = "" if f["accepted"] is None else f"{f['accepted']:.1%}"
            d = f["difference"]
            lines.append(
                f"| {suite} | {m} | {f['speedup']:.2f} [{f['low']:.2f}, {f['high']:.2f}] "
                f"| {f['time_a_token']:.2f} | {f['tokens_an_answer']:.2f} | {f['accuracy']:.1%} "
                f"| {d['points']:+.1f} [{d['low']:+.1f}, {d['high']:+.1f}] | {accepted} |"
            )
    for m in methods:
        f = rows["mean"][m]
        lines.append(
            f"| mean | {m} | {f['speedup']:.2f} | {f['time_a_token']:.2f} "
            f"| {f['tokens_an_answer']:.2f} | {f['accuracy']:.1%} | | |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="problems a suite")
    parser.add_argument("--first", type=int, default=50_000, help="number of the first problem")
    parser.add_argument("--method", action="append", choices=list(METHODS))
    parser.add_argument("--target")
    parser.add_argument("--draft")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    methods = options.method or list(METHODS)
    methods = ["target", *(m for m in methods if m != "target")]
    samples, memory = anyio.run(measure, options, methods)
    rows = table(samples, methods)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        content = {"provenance": origin(options, memory), "figures": rows}
        options.out.write_text(json.dumps(content, indent=2) + "\n")
    print(markdown(rows, methods))
    print(f"\n{memory:.0f} MB in all")


if __name__ == "__main__":
    main()
