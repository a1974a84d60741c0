"""Measure how often other candidates of the draft for a rejected step are accepted.

    python benchmarks/resamples.py                                  # the bundled pair
    python benchmarks/resamples.py --draft testbed/src/dreamr_testbed/pair/draft-before-sapo
    python benchmarks/resamples.py --target http://gpu:8000/v1 --draft http://gpu:8001/v1

On problems of the installed suites, the draft writes each step greedily and the target judges it.
After a rejection the draft writes candidates as `--resamples` does, with the stricter thresholds of
the gate, and the target writes the step itself. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio

from dreamr import Reasoner, RunOptions
from dreamr.engines import Context, Engine
from dreamr.evaluation.tasks import Item, default_tasks, load
from dreamr.gate import RatioGate, StepContext
from dreamr.runner import RunConfig
from dreamr.schedules import OpenLane
from dreamr.steps import Ending, Role, Step, StepFormat, StepSplitter
from dreamr.tooling import provenance

MOST_STEPS = 24
MOST_TOKENS = 200  # of a step
CANDIDATES = 3
GATE = RatioGate()


async def next_step(engine: Engine, role: Role, context: Context, resample: int = 0) -> Step | None:
    """Return the next step of a model; None at the end of its text."""
    number = len(context.prefix)
    lane = OpenLane(number, role, context.prefix, 1, MOST_TOKENS, resample=resample)
    splitter = StepSplitter(StepFormat(), prefix="".join(context.prefix))
    async with aclosing(engine.stream(context, RunConfig().draws(lane))) as chunks:
        async for chunk in chunks:
            if steps := splitter.push(chunk.text, chunk.tokens):
                return steps[0]
            if chunk.finish is not None:
                return splitter.finish(truncated=chunk.finish == "length")
    return None


async def accepted(target: Engine, context: Context, step: Step, resamples: int) -> bool:
    """Return whether the target accepts a step after some candidates."""
    [evidence] = await target.judge(context, [step.text])
    return GATE.decide(evidence, StepContext(step, len(context.prefix), resamples)).accepted


async def walk(item: Item, target: Engine, draft: Engine, found: Counter[str]) -> None:
    """Count the first steps and the candidates along one chain."""
    context = Context(item.conversation)
    for _ in range(MOST_STEPS):
        step = await next_step(draft, "draft", context)
        if step is None or step.ending is Ending.ANSWER:
            return
        right = await accepted(target, context, step, 0)
        found["first, accepted" if right else "first, rejected"] += 1
        if not right:
            for number in range(1, CANDIDATES + 1):
                other = await next_step(draft, "draft", context, number)
                good = other is not None and await accepted(target, context, other, number)
                found[f"candidate {number}, {'accepted' if good else 'rejected'}"] += 1
            step = await next_step(target, "target", context)
            if step is None or step.ending is Ending.ANSWER:
                return
        context = replace(context, prefix=(*context.prefix, step.text))


async def measure(options: RunOptions, limit: int) -> dict[str, dict[str, int]]:
    """Return the counts of each suite."""
    rows: dict[str, dict[str, int]] = {}
    async with Reasoner(options) as reasoner:
        engines = {role: model.engine for role, model in reasoner.models.items()}
        for task in default_tasks():
            found: Counter[str] = Counter()
            for item in load(task, limit=limit):
                await walk(item, engines["target"], engines["draft"], found)
            rows[task] = dict(sorted(found.items()))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", help="default: the bundled one")
    parser.add_argument("--draft", help="default: the bundled one")
    parser.add_argument("--limit", type=int, default=100, help="problems of each suite")
    parser.add_argument("--out", type=Path, help="write the counts to a JSON file")
    options = parser.parse_args()
    chosen = {"target": options.target, "draft": options.draft}
    models = {role: model for role, model in chosen.items() if model is not None}
    rows = anyio.run(measure, RunOptions(**models), options.limit)
    for task, found in rows.items():
        print(task, *(f"{name}: {count}" for name, count in found.items()), sep="  ")
    if options.out:
        content = {"provenance": provenance(), "draft": options.draft, "rows": rows}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
