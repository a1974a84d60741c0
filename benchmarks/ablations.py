r"""Ablations of SAPO: short trainings that differ in one option, and training on records.

    python benchmarks/ablations.py --out FILE.json [--work FOLDER] [--steps 150] [--jobs 2]
    python benchmarks/ablations.py --out FILE.json --plugin examples/timesheet.py \
        --task timesheet --problems 300 --limit 300

All variants start from the same draft and train on the same problems. The variants 'from traces'
train on records of FPSR, for as many epochs as it takes to see the number of completions that SAPO
sees. Each draft is measured on test problems: it solves them alone and the target judges the steps.
Two variants are trained with three seeds. Trainings are stored in the work folder; rerun the same
command to resume.
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

from dreamr.tooling import provenance

FIGURES = ("acceptance", "clean", "right", "tokens", "steps", "longest")
CREDIT = "--step-credit"
SEEDS = (0, 1, 2)
DEFAULT = ". Default: %(default)s."  # end of a help text


@dataclass(frozen=True)
class Variant:
    """A variant of the training.

    Attributes:
        name: Name of the variant.
        flags: Flags of `dreamr train sapo`.
        seeds: Seeds, one training each.
        records: Method of `dreamr train from-traces`; None for SAPO.
    """

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
    """Trainings and measurements in a work folder.

    Attributes:
        work: The work folder.
        options: Options of the command line.
    """

    work: Path
    options: argparse.Namespace

    @property
    def completions(self) -> int:
        """Number of completions in a training by SAPO."""
        return int(self.options.steps * self.options.batch)

    def run(self, command: str, *arguments: str, plugin: bool = True) -> None:
        """Run a command of `dreamr train`, with its output on standard error."""
        threads = max(1, (os.cpu_count() or 1) // self.options.jobs)
        given = ["--plugin", self.options.plugin] if plugin and self.options.plugin else []
        subprocess.run(
            [sys.executable, "-m", "dreamr", "train", command, *arguments, *given],
            check=True,
            stdout=sys.stderr,
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
        )

    def measured(self, name: str, draft: str) -> dict[str, Any]:
        """Return the figures of a draft by task, measuring it if necessary."""
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
        """File of the records."""
        return self.work / "records.jsonl"

    def record(self) -> None:
        """Record runs of FPSR on all problems, but on no more than SAPO sees completions."""
        most = -(-self.completions // len(self.options.task.split(",")))
        self.run(
            "record", "--draft", self.options.draft, "--task", self.options.task,
            "--problems", str(min(most, self.options.problems)), "--out", str(self.records),
            "--concurrency", "16",
        )  # fmt: skip

    def trained(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Train a variant and return the figures of its draft."""
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
    """Return the means over the seeds, and with several seeds their standard deviations."""
    means = [run.get("mean") or next(iter(run.values())) for run in runs]
    found: dict[str, Any] = {name: fmean(mean[name] for mean in means) for name in FIGURES}
    if len(means) > 1:
        found["spread"] = {name: stdev(mean[name] for mean in means) for name in FIGURES}
    return {"seeds": len(means), **found, "tasks": list(runs)}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table, with standard deviations over the seeds after ±."""
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
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="JSON file to write.")
    add("--work", type=Path, help="Folder of the trainings. Default: --out without its suffix.")
    add("--draft", default="embedded-before-sapo", help="Draft to start from" + DEFAULT)
    add("--task", default=",".join(SUITES), help="Names of tasks, separated by commas" + DEFAULT)
    add("--plugin", help="Modules that add tasks, separated by commas.")
    add("--problems", type=int, default=1000, help="Training problems per task" + DEFAULT)
    add("--steps", type=int, default=150, help="Optimizer steps of SAPO" + DEFAULT)
    add("--batch", type=int, default=64, help="Completions per step" + DEFAULT)
    add("--limit", type=int, default=200, help="Test problems per task" + DEFAULT)
    rate = "Learning rate; dpo uses a tenth of it" + DEFAULT
    add("--learning-rate", type=float, default=1e-4, help=rate)
    add("--jobs", type=int, default=1, help="Trainings that run in parallel" + DEFAULT)
    add("--only", nargs="*", help="Names of the variants to train. Default: all.")
    options = parser.parse_args()
    # Each combination of settings has its own folder, so trainings are resumed only if they match.
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
        running = {
            variant.name: [pool.submit(bench.trained, variant, seed) for seed in variant.seeds]
            for variant in chosen
        }
        try:
            runs = {name: [one.result() for one in each] for name, each in running.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    rows = {"before": row([before]), **{name: row(each) for name, each in runs.items()}}
    text = json.dumps({"provenance": provenance(), "settings": used, "variants": rows}, indent=2)
    options.out.write_text(text + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
