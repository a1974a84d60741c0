"""Tables of training a draft: SAPO, its ablations, and blank images."""

from __future__ import annotations

from collections.abc import Iterable

from tables.figures import (
    SUITES,
    Figure,
    Table,
    grid,
    load,
    percent,
)


def sapo() -> Iterable[str]:
    """Yield the draft's figures before and after training."""
    rows = []
    for name, file in (("before", "sapo/before.json"), ("after", "sapo/after.json")):
        tasks = [load(file)["figures"][suite] for suite in SUITES]
        mean = {key: sum(task[key] for task in tasks) / len(tasks) for key in tasks[0]}
        shares = (percent(mean[key]) for key in ("acceptance", "clean", "right"))
        rows.append([name, *shares, f"{mean['tokens']:.1f}"])
    head = ["draft", "steps accepted", "answers without a rejection", "correct", "tokens"]
    return grid(head, rows)


def places() -> Iterable[str]:
    """Yield the draft's figures on pages and videos, trained with and without the places term."""
    names = {"before": "before", "1:1:1:0": "after-0", "1:1:1:0.5": "after-0.5"}
    keys = ("acceptance", "clean", "right", "places", "wrong_places")
    rows = []
    for name, file in names.items():
        for task, figures in load(f"sapo-places/{file}.json")["figures"].items():
            if task != "mean":
                cells = (percent(figures[key]) for key in keys)
                rows.append([task, name, *cells, f"{figures['tokens']:.0f}"])
    head = ["steps accepted", "answers without a rejection", "correct", "steps that name a place"]
    head = ["task", "weights", *head, "a wrong one", "tokens"]
    return grid(head, sorted(rows, key=lambda row: row[0], reverse=True))


def ablation(file: str) -> Table:
    """Return the table of an ablation; several seeds give mean ± standard deviation."""

    def cell(variant: Figure, key: str, scale: float = 1) -> str:
        spread = variant.get("spread")
        tail = f" ± {scale * spread[key]:.1f}" if spread else ""
        return f"{scale * variant[key]:.1f}{tail}"

    def table() -> Iterable[str]:
        rows = (
            [
                name,
                *(cell(variant, key, 100) for key in ("acceptance", "clean", "right")),
                cell(variant, "tokens"),
            ]
            for name, variant in load(file)["variants"].items()
        )
        head = ["variant", "steps accepted, %", "without a rejection, %", "correct, %", "tokens"]
        return grid(head, rows)

    return table


def blind() -> Iterable[str]:
    """Yield accuracy with blank images."""
    found = load("blind.json")["figures"]
    rows = ([suite, percent(found[suite]["draft"]["accuracy"], 0)] for suite in SUITES)
    return grid(["suite", "correct with blank images"], rows)


TABLES: dict[str, Table] = {
    "sapo": sapo,
    "places": places,
    "ablation_new": ablation("ablations-timesheet.json"),
    "ablation_known": ablation("ablations.json"),
    "blind": blind,
}
