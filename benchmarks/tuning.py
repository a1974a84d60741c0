"""Measure the gain of tuning window, fallback and resamples by latency, in virtual time.

    python benchmarks/tuning.py --out FILE.json [--requests 500] [--processes 2]

A map over the acceptance, the costs of a drafted step and of a judge call, and one or two devices.
At every point the requests run with every fixed setting and with a new `Tuner`, whose learning
phase counts. Then workloads that alternate between two kinds of requests; the tuner is given the
kind (in the gateway, `kind_of` distinguishes prompts by images and length). The results are the
same on every machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Hashable, Sequence
from itertools import product
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from dreamr.evaluation.simulator import Costs, Devices, Scenario, run_scripts
from dreamr.schedules import ScheduleConfig
from dreamr.serving.tuning import SETTINGS, RunSummary, Setting, Tuner
from dreamr.tooling import provenance
from dreamr.trace import Event, StepRejected

FIXED = [Setting(w, h) for w, h in product((1, 2, 4, 8, 16), ("eager", "idle", "on-reject"))]
FIXED += [Setting(8, resamples=2)]
ACCEPTANCES = (0.3, 0.526, 0.8, 0.95)
STEP_COSTS = (0.05, 0.125, 0.5)
VERDICTS = (0.05, 0.5)
LENGTH = 24
SEED = 2  # the tuner's constants were chosen on seeds 0 and 1


def scenario(acceptance: float, cost: float, verdict: float, colocated: bool) -> Scenario:
    """Return a point of the map; costs are relative to a step of the target."""
    return Scenario(
        Costs.relative(cost, verdict, LENGTH, LENGTH),
        acceptance=acceptance,
        resample_acceptance=acceptance / 2,
        steps=12,
        devices=Devices(colocated=colocated),
        seed=SEED,
    )


def run(kind: Scenario, request: int, setting: Setting) -> RunSummary:
    """Run one request of this kind with a setting."""
    refused: set[int] = set()

    def note(_: int, event: Event) -> None:
        if isinstance(event, StepRejected):
            refused.add(event.position)

    script, options = kind.script(request), setting.applied(ScheduleConfig())
    found = run_scripts([script], "fpsr", options, kind.costs, kind.devices, emit=note)
    return RunSummary(found.seconds, found.runs[0].steps - len(refused), len(refused))


def fixed(kinds: Sequence[Scenario], requests: int) -> dict[Setting, float]:
    """Return the seconds of all requests with each fixed setting."""
    return {
        setting: sum(run(kinds[r % len(kinds)], r, setting).seconds for r in range(requests))
        for setting in FIXED
    }


def tuned(kinds: Sequence[Scenario], requests: int) -> float:
    """Return the seconds of all requests with the settings that a tuner chooses."""
    tuner, total = Tuner(), 0.0
    for request in range(requests):
        kind: Hashable = request % len(kinds)
        setting = tuner.choose(kind)
        shown = run(kinds[request % len(kinds)], request, setting)
        tuner.learn(kind, setting, shown)
        total += shown.seconds
    return total


def compare(work: tuple[str, Sequence[Scenario], int]) -> dict[str, Any]:
    """Run a workload with all fixed settings and with a tuner."""
    name, kinds, requests = work
    found = fixed(kinds, requests)
    best = min(found, key=lambda setting: found[setting])
    usual = found[Setting(8)]
    return {
        "workload": name,
        "best fixed": f"{best.window} {best.fallback}"
        + (f" retries {best.resamples}" if best.resamples else ""),
        "seconds": {"best fixed": found[best], "default": usual, "tuned": tuned(kinds, requests)},
    }


def gain(row: dict[str, Any], over: str = "best fixed") -> float:
    """Return the gain in speed of the tuner, as a share: 0.1 is 10 % faster."""
    return float(row["seconds"][over] / row["seconds"]["tuned"] - 1)


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=500, help="requests at each point")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file to write the results to")
    options = parser.parse_args()
    grid = product(ACCEPTANCES, STEP_COSTS, VERDICTS, (False, True))
    points = []
    for a, c, v, s in grid:
        place = "one device" if s else "two devices"
        points.append((f"acceptance {a}, step {c}, verdict {v}, {place}", (a, c, v, s)))
    map_ = [(name, [scenario(*point)], options.requests) for name, point in points]
    # Such as tables, which the draft reads as well as the target, and photographs, which it does
    # not. One pair of kinds at all costs, since kinds need different settings only at some of them.
    pairs = [(0.3, 0.95, c, v, s) for c, v, s in product(STEP_COSTS, VERDICTS, (False, True))]
    pairs += [(0.526, 0.95, 0.125, 0.5, True), (0.3, 0.8, 0.5, 0.5, True)]
    mixed = {
        f"{a} and {b}, step {c}, verdict {v}, {'one device' if s else 'two devices'}": [
            scenario(a, c, v, s), scenario(b, c, v, s),
        ]
        for a, b, c, v, s in pairs
    }  # fmt: skip
    work = map_ + [(name, kinds, 2 * options.requests) for name, kinds in mixed.items()]
    with Pool(options.processes) as pool:
        rows = pool.map(compare, work, chunksize=1)
    points_found, mixed_found = rows[: len(map_)], rows[len(map_) :]
    worst = min(points_found, key=gain)
    print(f"map of {len(points_found)} points, {options.requests} requests each")
    print(f"  worst against the best fixed setting: {gain(worst):+.1%} ({worst['workload']})")
    for over in ("best fixed", "default"):
        mean = sum(gain(row, over) for row in points_found) / len(points_found)
        print(f"  mean against {over}: {mean:+.1%}")
    for row in mixed_found:
        print(f"mixed, {row['workload']}: {gain(row):+.1%} against {row['best fixed']}")
    if options.out:
        content = {
            "provenance": provenance(),
            "requests": options.requests,
            "settings": [str(setting) for ladder in SETTINGS for setting in ladder],
            "map": points_found,
            "mixed": mixed_found,
        }
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
