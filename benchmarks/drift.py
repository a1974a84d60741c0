"""Measure how soon audits notice that the kind of problems has changed.

    python benchmarks/drift.py --out FILE.json [--usual 80] [--shifted 300] [--every 2]

The bundled pair answers problems of its own suites alternately, then problems of a task that it has
never seen (examples/timesheet.py). Four gates are measured:

- the paper's ratio gate with its default threshold;
- a ratio gate that accepts every step, as the draft may seem to deserve on its own suites;
- a cascade that accepts every step by the target's likelihood, which no threshold affects;
- a cascade that skips verification of steps of which the draft is confident.

One of every `--every` accepted steps is audited, before the next problem starts. Every problem is
answered twice: with the threshold that audits set, and with the gate's own. The results are counts
of reproducible runs and do not depend on the speed of the machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import anyio
from dreamr_testbed.suites import SUITES

from dreamr import Reasoner, RunOptions
from dreamr._plugins import import_plugins
from dreamr.evaluation.tasks import Item, load
from dreamr.serving.drift import Watch
from dreamr.tooling import provenance

ROOT = Path(__file__).parents[1]
GATES: dict[str, dict[str, Any]] = {
    "ratio, 0.7": {"threshold": 0.7},
    "ratio, 0": {"threshold": 0.0},
    "cascade, target confidence 0": {"gate": "cascade", "target_confidence": 0.0},
    "cascade, draft confidence 0.95": {"gate": "cascade", "draft_confidence": 0.95},
}
SHIFTED = "examples/timesheet.py"


async def measure(
    parts: dict[str, Sequence[Item]], every: int, risk: float
) -> list[dict[str, Any]]:
    """Answer all parts in order with each gate; return one row per gate and part."""
    rows = []
    async with Reasoner() as reasoner:
        for gate, values in GATES.items():
            options = RunOptions(deterministic=True, **values)
            watch = Watch(options.run_config().gate, every=every, risk=risk)
            for name, items in parts.items():
                found = await answer_all(reasoner, options, watch, items)
                rows.append({"gate": gate, "questions": name, **found})
    return rows


async def answer_all(
    reasoner: Reasoner, options: RunOptions, watch: Watch, items: Sequence[Item]
) -> dict[str, Any]:
    """Answer the problems of a part; return its counts and the threshold at its end."""
    before = watch.counts.copy()
    alarm: dict[str, int] | None = None
    right = plain = 0
    for number, item in enumerate(items, 1):
        asked = item.conversation
        plain += item.right((await reasoner.reason(asked, options=options)).answer)
        watched = await reasoner.reason(asked, options=options, hooks=[watch])
        right += item.right(watched.answer)
        await watch.settled()
        for model in reasoner.models.values():
            model.engine.forget(asked)
        if watch.alarm and alarm is None:
            alarm = {"asked": number, "audits": (watch.counts - before).total()}
    return {
        "asked": len(items),
        "audits": dict(watch.counts - before),
        "alarm after": alarm,
        "right": right,
        "right without audits": plain,
        "threshold": watch.threshold,
        "alarm at the end": watch.alarm,
    }


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--usual", type=int, default=80, help="problems of each suite")
    parser.add_argument("--shifted", type=int, default=300, help="problems of the other task")
    parser.add_argument(
        "--every", type=int, default=2, help="audit one of this many accepted steps"
    )
    parser.add_argument("--risk", type=float, default=0.02, help="allowed share of disagreements")
    parser.add_argument("--seed", type=int, default=1000, help="seed of the problems")
    parser.add_argument("--out", type=Path, help="JSON file to write the results to")
    options = parser.parse_args()
    import_plugins(str(ROOT / SHIFTED))
    suites = [load(name, limit=options.usual, seed=options.seed) for name in SUITES]
    parts = {
        "usual": list(chain.from_iterable(zip(*suites, strict=True))),
        "shifted": list(load("timesheet", limit=options.shifted, seed=options.seed)),
    }
    rows = anyio.run(measure, parts, options.every, options.risk)
    for row in rows:
        print(json.dumps(row))
    if options.out:
        content = {
            "provenance": provenance(),
            "every": options.every,
            "risk": options.risk,
            "seed": options.seed,
            "figures": rows,
        }
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
