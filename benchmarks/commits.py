"""Compare the speed-ups of two commits by alternating benches.

    git worktree add ../before COMMIT
    python benchmarks/commits.py ../before . --out FILE.json

Each round runs `dreamr bench run` on the same new problems with the code of each checkout, in
alternating order. A speed-up is the ratio of the target's to the method's seconds, each summed over
the problems of a round. The result is the geometric mean over rounds of the second checkout's
speed-up divided by the first's, with a 95 % interval (Student's t on the logarithms).
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

from dreamr.tooling import provenance

METHOD = "fpsr"


def main() -> None:
    """Run the benches and print the ratio of the speed-ups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs=2, type=Path, help="folders of two checkouts")
    parser.add_argument("--rounds", type=int, default=6, help="number of rounds, at least 2")
    parser.add_argument("--limit", type=int, default=15, help="problems of each suite per round")
    parser.add_argument("--out", type=Path, help="JSON file to write the results to")
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
    """Return the speed-up of the method over the target alone in one bench of a checkout."""
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
    """Return the hash of a checkout's commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
