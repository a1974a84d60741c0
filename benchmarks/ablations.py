"""What each part of SAPO is for: the same short training with one thing changed, in one table.

    python benchmarks/ablations.py --out FILE.json [--work FOLDER] [--steps 150] [--jobs 2]
    python benchmarks/ablations.py --out FILE.json --plugin examples/timesheet.py \
        --task timesheet --problems 300 --limit 300

Every variant starts from the same draft and trains on the same problems: SAPO on so many
completions, the others on records of FPSR, read again until they are as many. Each draft is
measured on fresh problems: what the target accepts of what it writes alone. Two variants are
trained with three seeds. Trainings lie in the work folder; stopped and started again, it goes on
from there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dreamr_testbed.suites import SUITES

from dreamr._provenance import provenance

FIGURES = ("acceptance", "clean", "right", "tokens", "steps", "longest")
CREDIT = "--step-credit"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Variant:
    """A training: what it changes, and with which seeds. records: the method that learns from."""

    name: str
    flags: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    records: str | None = None


VARIANTS = (
    Variant("1:1:1", (CREDIT,), SEEDS),
    Variant("no step credit", (), SEEDS),
    Variant("2:1:1", (CREDIT, "--weights", "2:1:1")),
    Variant("1:2:1", (CREDIT, "--weights", "1:2:1")),
    Variant("1:1:2", (CREDIT, "--weights", "1:1:2")),
    Variant("no length", (CREDIT, "--weights", "1:1:0")),
    Variant("no draft term", (CREDIT, "--weights", "1:0:1")),
    Variant("sft from traces", records="sft"),
    Variant("dpo from traces", records="dpo"),
)


@dataclass(frozen=True)
class Bench:
    """How much of everything, and where."""

    work: Path
    options: argparse.Namespace

    @property
    def completions(self) -> int:
        """How many a training by SAPO sees."""
        return int(self.options.steps * self.options.batch)

    def run(self, command: str, *arguments: str, plugin: bool = True) -> None:
        """One of dreamr's own commands; what it says goes to our standard error."""
        threads = max(1, (os.cpu_count() or 1) // self.options.jobs)
        given = ["--plugin", self.options.plugin] if plugin and self.options.plugin else []
        subprocess.run(
            [sys.executable, "-m", "dreamr", "train", command, *arguments, *given],
            check=True,
            stdout=sys.stderr,
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
        )

    def measured(self, name: str, draft: str) -> dict[str, Any]:
        """The figures of a draft, by task."""
        file = self.work / f"{name}-{self.options.limit}.json"
        if not file.exists():
            self.run(
                "measure", "--draft", draft, "--task", self.options.task,
                "--limit", str(self.options.limit), "--out", str(file),
            )  # fmt: skip
        found: dict[str, Any] = json.loads(file.read_text())["figures"]
        return found

    @property
    def records(self) -> Path:
        """Where the records are."""
        return self.work / "records.jsonl"

    def record(self) -> None:
        """What FPSR leaves on the problems, or on as many as SAPO sees completions."""
        most = -(-self.completions // len(self.options.task.split(",")))
        self.run(
            "record", "--draft", self.options.draft, "--task", self.options.task,
            "--problems", str(min(most, self.options.problems)), "--out", str(self.records),
            "--concurrency", "16",
        )  # fmt: skip

    def trained(self, variant: Variant, seed: int) -> dict[str, Any]:
        """The figures of the draft of one training."""
        name = f"{variant.name.replace(' ', '-').replace(':', '')}-{seed}"
        out = self.work / name
        rate = self.options.learning_rate
        common = ["--draft", self.options.draft, "--out", str(out), "--seed", str(seed)]
        common += ["--batch", str(self.options.batch)]
        if variant.records:
            with self.records.open() as file:
                epochs = -(-self.completions // sum(1 for _ in file))
            self.run(
                "from-traces", str(self.records), *common, "--method", variant.records,
                "--learning-rate", str(rate if variant.records == "sft" else rate / 10),
                "--epochs", str(epochs), plugin=False,
            )  # fmt: skip
        else:
            self.run(
                "sapo", *common, *variant.flags, "--task", self.options.task,
                "--problems", str(self.options.problems), "--steps", str(self.options.steps),
                "--learning-rate", str(rate), "--max-tokens", "256", "--graders", "1",
            )  # fmt: skip
        return self.measured(name, str(out / "draft"))


def row(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, with their standard deviations where there are several."""
    means = [run.get("mean") or next(iter(run.values())) for run in runs]
    found: dict[str, Any] = {name: fmean(mean[name] for mean in means) for name in FIGURES}
    if len(means) > 1:
        found["spread"] = {name: stdev(mean[name] for mean in means) for name in FIGURES}
    return {"seeds": len(means), **found, "tasks": list(runs)}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """As Markdown; behind a plus or minus, the standard deviation over the seeds."""
    lines = [f"| variant | {' | '.join(FIGURES)} |", "|---" * (len(FIGURES) + 1) + "|"]
    for name, found in rows.items():
        cells = [
            f"{found[figure]:.3g}"
            + (f" ± {found['spread'][figure]:.2g}" if "spread" in found else "")
            for figure in FIGURES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures")
    parser.add_argument("--work", type=Path, help="folder of trainings; default: beside the file")
    parser.add_argument("--draft", default="embedded-before-sapo")
    parser.add_argument("--task", default=",".join(SUITES), help="with commas between them")
    parser.add_argument("--plugin", help="modules that add tasks")
    parser.add_argument("--problems", type=int, default=1000, help="of each task, to train on")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--limit", type=int, default=200, help="of each task, to measure with")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--only", nargs="*", help="variants; the others are left out")
    options = parser.parse_args()
    # Other settings are other trainings, and lie elsewhere.
    names = ("task", "draft", "problems", "steps", "batch", "learning_rate")
    used = {name: getattr(options, name) for name in names}
    folder = "-".join(str(value) for value in used.values()).replace(",", "+").replace("/", "_")
    bench = Bench((options.work or options.out.with_suffix("")) / folder, options)
    bench.work.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in VARIANTS if options.only is None or one.name in options.only]
    before = bench.measured("before", options.draft)
    if any(variant.records for variant in chosen):
        bench.record()
    with ThreadPoolExecutor(options.jobs) as pool:
        under_way = {
            variant.name: [pool.submit(bench.trained, variant, seed) for seed in variant.seeds]
            for variant in chosen
        }
        try:
            runs = {name: [one.result() for one in each] for name, each in under_way.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    rows = {"before": row([before]), **{name: row(each) for name, each in runs.items()}}
    text = json.dumps({"provenance": provenance(), "settings": used, "variants": rows}, indent=2)
    options.out.write_text(text + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
