"""How soon audits notice that the questions have changed.

    python benchmarks/drift.py --out FILE.json [--usual 80] [--shifted 300] [--every 2]

The embedded pair answers questions of its own suites in turns, and then of a task that it has never
seen (examples/timesheet.py): with the paper's gate, with one that passes all, as its draft may
seem to deserve on its own suites, with one that passes all without asking, which no threshold
reaches, and with one that trusts the draft. One accepted step in so many is audited, each before
the next question is asked. Counts alone: nothing depends on how fast the machine is, and runs are
reproducible. Every question is answered twice, with the threshold that audits set and with the
gate's own.
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
from dreamr._provenance import provenance
from dreamr.evaluation.tasks import Item, load
from dreamr.serving.drift import Watch

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
    """Counts of this part alone, but for the threshold, which is the one at its end."""
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--usual", type=int, default=80, help="questions of each usual suite")
    parser.add_argument("--shifted", type=int, default=300, help="questions of the other task")
    parser.add_argument("--every", type=int, default=2, help="one accepted step in so many")
    parser.add_argument("--risk", type=float, default=0.02, help="bound on disagreements")
    parser.add_argument("--seed", type=int, default=1000, help="of the questions")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
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
