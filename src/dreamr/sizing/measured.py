"""Placements whose costs were measured: by `dreamr doctor --json`, or in a bench."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from dreamr._files import read_text
from dreamr._messages import short_path
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.tables import fitted_costs
from dreamr.sizing.machines import BadMachines, read_price, read_toml

_FIELDS = ("name", "measured", "shared", "price")
_MS = 1e-3


@dataclass(frozen=True, slots=True)
class MeasuredPlacement:
    """A placement with measured costs.

    Attributes:
        name: Name.
        costs: Costs of its work, in seconds.
        shared: Whether both models are on one device.
        price: Price of an hour; None if it is unknown.
    """

    name: str
    costs: Costs
    shared: bool = False
    price: float | None = None


def read_placements(path: Path) -> list[MeasuredPlacement]:
    """Read a file that lists measured placements. Its paths are relative to its folder.

    Raises:
        BadMachines: If a file cannot be read, or nothing was measured in it.
        BadScenario: If the samples of a bench cannot be used.
    """
    rows = read_toml(path, "devices file").get("placement")
    if not isinstance(rows, list) or not rows:
        raise BadMachines(
            f"devices file {short_path(path)} has no placements: add [[placement]] with name and "
            "measured"
        )
    return [_placement(path, number, row) for number, row in enumerate(rows, 1)]


def _placement(path: Path, number: int, row: object) -> MeasuredPlacement:
    where = f"devices file {short_path(path)}, placement {number}"
    if not isinstance(row, dict) or not isinstance(row.get("measured"), str):
        raise BadMachines(
            f"{where}: 'measured' must name the output of dreamr doctor --json, or a bench's folder"
        )
    for key in row:
        if key not in _FIELDS:
            raise BadMachines(f"{where}: unknown field {key!r}; known: {', '.join(_FIELDS)}")
    found = path.parent / row["measured"]
    costs = fitted_costs(found) if found.is_dir() else costs_of_doctor(found)
    shared = row.get("shared", False)
    if not isinstance(shared, bool):
        raise BadMachines(f"{where}: shared must be true or false")
    return MeasuredPlacement(
        str(row.get("name", row["measured"])), costs, shared, read_price(row, where)
    )


def costs_of_doctor(path: Path) -> Costs:
    """Return the costs that `dreamr doctor --json` measured.

    A lane is opened in about the time of a judge call of one token. Both include the request.

    Raises:
        BadMachines: If the file cannot be read or holds no costs of a pair.
    """
    found = {(str(one.get("of")), str(one.get("about"))): one.get("values", {}) for one in
             _findings(path)}  # fmt: skip
    try:
        cost = found["together", "cost"]
        draft, target, judge = (
            _seconds(cost[name]) for name in ("draft_token_ms", "target_token_ms", "judge_ms")
        )
        first = {role: _first(found.get((role, "rates"), {})) for role in ("draft", "target")}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadMachines(
            f"{short_path(path)} holds no costs of a pair: make it with dreamr doctor --target URL "
            "--draft URL --json"
        ) from error
    return Costs(
        draft=draft,
        target=target,
        judge=judge,
        open_draft=first["draft"],
        open_target=min(judge, first["target"]),
        prompt_draft=first["draft"],
        prompt_target=first["target"],
    )


def _first(values: Mapping[str, Any]) -> float:
    first = values.get("first_token_ms")
    return 0.0 if first is None else _seconds(first)


def _seconds(milliseconds: Any) -> float:
    """Return a measured time in seconds.

    Raises:
        ValueError: If it is not a time above 0.
    """
    found = float(milliseconds) * _MS
    if not 0 < found < inf:
        raise ValueError(f"{found} is not a time")
    return found


def _findings(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in read_text(path, "measurements", BadMachines).splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue  # a line of the engine, or of a warning
        if isinstance(found, dict):
            yield found
