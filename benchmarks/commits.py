"""Whether two commits are equally fast: benches of both in turns, and the ratio of their speed-ups.

    git worktree add ../before COMMIT
    python benchmarks/commits.py ../before . --out FILE.json

Each round runs `dreamr bench run` on the same fresh problems in a process of each checkout, the
order alternating. A speed-up is the target's seconds over the method's, summed over the problems
of a round; the figure is the mean over rounds of the second checkout's speed-up over the first's,
with a 95 % interval (Student's t).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from scipy.stats import t

from dreamr._provenance import provenance

METHOD = "fpsr"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs=2, type=Path, help="folders of two checkouts")
    parser.add_argument("--rounds", type=int, default=6, help="at least two")
    parser.add_argument("--limit", type=int, default=15, help="problems of each suite a round")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    rows = []
    for number in range(options.rounds):
        order = options.checkouts if number % 2 == 0 else options.checkouts[::-1]
        found = {place: speed_up(place, options.limit, 70_000 + number) for place in order}
        rows.append([found[place] for place in options.checkouts])
        print(*(f"{figure:.3f}" for figure in rows[-1]), flush=True)
    ratios = [math.log(second / first) for first, second in rows]
    mean, half = statistics.mean(ratios), t.ppf(0.975, len(ratios) - 1) * statistics.stdev(ratios)
    half /= math.sqrt(len(ratios))
    low, middle, high = (math.exp(mean + side * half) for side in (-1, 0, 1))
    print(f"second over first: {middle:.3f} [{low:.3f}, {high:.3f}]")
    if options.out:
        content = {
            "provenance": provenance(),
            "commits": [commit_of(place) for place in options.checkouts],
            "speed_ups": rows,
            "ratio": [low, middle, high],
        }
        options.out.write_text(json.dumps(content, indent=2) + "\n")


def speed_up(checkout: Path, limit: int, seed: int) -> float:
    """Of the method over the target alone, in one bench of a checkout's code."""
    source = os.pathsep.join(str(checkout.resolve() / part) for part in ("src", "testbed/src"))
    flags = ["--limit", str(limit), "--seed", str(seed), "--method", "target", "--method", METHOD]
    tasks = [flag for task in ("docmath", "story", "vqa") for flag in ("--task", task)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "dreamr",
                "bench",
                "run",
                *flags,
                *tasks,
                "--out",
                folder + "/b",
            ],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": source},
        )
        lines = Path(folder, "b", "samples.jsonl").read_text().splitlines()
    seconds = {"target": 0.0, METHOD: 0.0}
    for sample in map(json.loads, lines):
        seconds[sample["method"]] += sample["seconds"]
    return seconds["target"] / seconds[METHOD]


def commit_of(checkout: Path) -> str:
    """Its hash."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
