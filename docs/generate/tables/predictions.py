"""Tables of what was predicted: placements, replayed benches, and named models."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tables.figures import (
    RESULTS,
    Table,
    grid,
    load,
    plain,
)


def placement() -> Iterable[str]:
    """Yield what the plan expected of placements of a pair, and what was measured."""
    found = load("placement.json")
    measured = found["measured"]
    rows = (
        [name, plain(row["speed-up"]), plain(measured[name]["speed-up"])]
        for name, row in found["planned"].items()
    )
    return grid(["placement", "planned", "measured"], rows)


def replays() -> Iterable[str]:
    """Yield the simulator's error on replayed benches."""
    rows = []
    for folder in ("aligned", "windows"):
        for row in load(f"{folder}/replay.json")["rows"]:
            error = f"{100 * row['off by']:+.1f} %"
            name = f"{row['method']} (`{folder}`)"
            rows.append([name, plain(row["measured"]), plain(row["predicted"]), error])
    return grid(["method", "measured", "predicted", "error"], rows)


def predictions() -> Iterable[str]:
    """Yield predictions for named models and devices."""
    rows = []
    for file in sorted((RESULTS / "simulator" / "predictions").glob("[0-9]*[0-9].json")):
        found = json.loads(file.read_text("utf-8"))
        for row in found["rows"]:
            pair = found["title"].partition(". ")[0]
            speedups = (plain(row[name]) for name in ("speed-up", "equal devices"))
            rows.append([pair, row["gpu"], row["devices"], row["method"], *speedups])
    head = ["pair, acceptance", "GPU", "devices (target + draft)", "method"]
    return grid([*head, "speed-up", "speed-up over the target on all devices"], rows)


TABLES: dict[str, Table] = {
    "placement": placement,
    "replays": replays,
    "predictions": predictions,
}
