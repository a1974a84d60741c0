"""`dreamr ps`: list the pairs that are up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from dreamr._option_specs import OptionSpec
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.cli.screen import stdout_console, uncut_table
from dreamr.errors import DreamrError
from dreamr.pairs.running import PairState, is_up, known_names, read_state

EPILOG = epilog("dreamr ps", "dreamr ps --json", notes=("Guide: docs/guides/launch.md",))
_COLUMNS = ("name", "state", "gateway", "models", "for", "file")
_DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class PsOptions:
    """Options of `dreamr ps`."""

    as_json: Annotated[
        bool,
        OptionSpec("Print one JSON object per pair.", "Options", flags=("--json",)),
    ] = False


def ps_command() -> Callable[..., None]:
    """Return the command."""
    return command(_ps, Declared(PsOptions))


def _ps(options: PsOptions) -> None:
    """List the pairs that dreamr up has started, and their models."""
    rows = [_row(name) for name in known_names()]
    if options.as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = uncut_table(*_COLUMNS, pad_edge=False)
    for row in rows:
        table.add_row(*_cells(row))
    if rows:
        stdout_console().print(table)
    else:
        print("no pair is up: start one with dreamr up FILE")


def _row(name: str) -> dict[str, Any]:
    try:
        state = read_state(name)
    except DreamrError:
        state = None
    if state is None:
        return {"name": name, "phase": _phase(name, None), "models": {}}
    return {**state.to_json(), "phase": _phase(name, state)}


def _phase(name: str, state: PairState | None) -> str:
    if not is_up(name):
        return _DEAD
    return state.phase if state is not None else "unknown"


def _cells(row: dict[str, Any]) -> list[str]:
    phase = row["phase"]
    state = f"{phase}: run dreamr down {row['name']}" if phase == _DEAD else phase
    models = ", ".join(f"{name} {_model(model)}" for name, model in row["models"].items())
    since = _duration(time.time() - row["began"]) if "began" in row else ""
    return [
        row["name"],
        state,
        row.get("gateway") or "",
        "" if phase == _DEAD else models,
        since,
        row.get("file", ""),
    ]


def _model(model: dict[str, Any]) -> str:
    restarts = f" (restarts: {model['restarts']})" if model["restarts"] else ""
    return f"{model['phase']}{restarts}"


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
