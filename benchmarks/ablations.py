"""What each part of SAPO is for: the same short training with one thing changed, in one table.

    python benchmarks/ablations.py --out FILE.json [--work FOLDER] [--steps 150] [--limit 200]

Every variant starts from the same draft and trains on the same tasks; the records are of FPSR on as
many problems as a training by SAPO sees completions. Each draft is measured on fresh problems: what
the target accepts of what it writes alone. Two variants are trained with three seeds. Trainings lie
in the work folder; stopped and started again, it goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

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
    draft: str
    steps: int
    batch: int
    limit: int
    learning_rate: float

    def run(self, *arguments: str) -> None:
        """One of dreamr's own commands; what it says goes to our standard error."""
        command = [sys.executable, "-m", "dreamr", "train", *arguments]
        subprocess.run(command, check=True, stdout=sys.stderr)

    def measured(self, name: str, draft: str) -> dict[str, Any]:
        """The figures of a draft, by task."""
        file = self.work / f"{name}-{self.limit}.json"
        if not file.exists():
            self.run("measure", "--draft", draft, "--limit", str(self.limit), "--out", str(file))
        found: dict[str, Any] = json.loads(file.read_text())["figures"]
        return found

    def records(self) -> Path:
        """What FPSR leaves on as many problems as there are completions in a training by SAPO."""
        file = self.work / "records.jsonl"
        each = -(-self.steps * self.batch // 3)
        self.run(
            "record", "--draft", self.draft, "--problems", str(each), "--out", str(file),
            "--concurrency", "16",
        )  # fmt: skip
        return file

    def trained(self, variant: Variant, seed: int) -> str:
        """The folder of the draft of one training."""
        out = self.work / f"{variant.name.replace(' ', '-').replace(':', '')}-{seed}"
        common = ["--draft", self.draft, "--out", str(out), "--seed", str(seed)]
        common += ["--batch", str(self.batch)]
        if variant.records:
            rate = self.learning_rate if variant.records == "sft" else self.learning_rate / 10
            self.run(
                "from-traces", str(self.records()), *common, "--method", variant.records,
                "--learning-rate", str(rate),
            )  # fmt: skip
        else:
            self.run(
                "sapo", *common, *variant.flags, "--steps", str(self.steps),
                "--learning-rate", str(self.learning_rate), "--max-tokens", "256",
            )  # fmt: skip
        return str(out / "draft")


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
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--limit", type=int, default=200, help="problems of each task")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--only", nargs="*", help="variants; the others are left out")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    # Other settings are other trainings, and lie elsewhere.
    settings = f"{options.steps}-steps-of-{options.batch}-at-{options.learning_rate:g}"
    work = (options.work or options.out.with_suffix("")) / settings
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        work,
        options.draft,
        options.steps,
        options.batch,
        options.limit,
        options.learning_rate,
    )
    rows = {"before": row([bench.measured("before", options.draft)])}
    used = {"steps": options.steps, "batch": options.batch, "learning_rate": options.learning_rate}
    for variant in VARIANTS:
        if options.only is not None and variant.name not in options.only:
            continue
        runs = []
        for seed in variant.seeds:
            draft = bench.trained(variant, seed)
            runs.append(bench.measured(Path(draft).parent.name, draft))
        rows[variant.name] = row(runs)
        text = json.dumps(
            {"provenance": provenance(), "settings": used, "variants": rows}, indent=2
        )
        options.out.write_text(text + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
