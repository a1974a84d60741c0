"""`dreamr pair plan`: where the models of a pair go, and the cheapest machines for a load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dreamr._option_specs import BadOption, Conflict, OptionRules, OptionSpec, Unused
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.cli.screen import stdout_console
from dreamr.sizing import Pair, find_architecture
from dreamr.sizing.expectation import LIKELY
from dreamr.sizing.machines import PriceTable, read_prices
from dreamr.sizing.measured import read_placements
from dreamr.sizing.plan import (
    Candidate,
    Load,
    Offer,
    Ranked,
    alone,
    candidates,
    measured_candidates,
    offers,
    rank,
)

_MODELS, _MACHINES, _LOAD, _OUTPUT = "Models", "Machines", "Load", "Output"
_WIDTH = 120  # columns without a terminal
_SHOWN = 10
_UNKNOWN = "-"  # a cell without a value
PLAN_EPILOG = epilog(
    "dreamr pair plan --devices measured.toml",
    "dreamr pair plan --target ./big --draft ./small --machine 2xH100",
    "dreamr pair plan --target ./big --draft ./small --prices prices.toml",
    notes=("Guide: docs/guides/sizing.md",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options of `dreamr pair plan`."""

    target: Annotated[str | None, OptionSpec("Target: Hugging Face ID or folder.", _MODELS)] = None
    draft: Annotated[str | None, OptionSpec("Draft: Hugging Face ID or folder.", _MODELS)] = None
    acceptance: Annotated[
        float,
        OptionSpec("Probability that a drafted step is accepted, 0 to 1.", _MODELS, 0, 1),
    ] = LIKELY
    machine: Annotated[
        tuple[str, ...],
        OptionSpec("Machine: a name of --prices, or GPUs such as 2xH100. Repeatable.", _MACHINES),
    ] = ()
    prices: Annotated[
        Path | None, OptionSpec("TOML file of machines with prices per hour.", _MACHINES)
    ] = None
    devices: Annotated[Path | None, OptionSpec("TOML file of measured placements.", _MACHINES)] = (
        None
    )
    load: Annotated[
        float | None, OptionSpec("Questions per minute to be served.", _LOAD, 1e-6, 1e9)
    ] = None
    latency: Annotated[
        float | None, OptionSpec("Longest mean time of a question in seconds.", _LOAD, 1e-3, 1e6)
    ] = None
    as_json: Annotated[bool, OptionSpec("Print one JSON object.", _OUTPUT, flags=("--json",))] = (
        False
    )


_RULES = OptionRules(
    (
        Unused(
            ("target", "draft", "machine", "prices"),
            lambda o: o.devices is not None,
            "with --devices",
        ),
        Unused(("latency",), lambda o: o.load is None, "without --load"),
    ),
    (
        Conflict(
            lambda o: o.devices is None and not (o.target and o.draft),
            "name the models with --target and --draft, or measured placements with --devices",
        ),
        Conflict(
            lambda o: o.devices is None and not (o.machine or o.prices),
            "name machines with --machine or --prices, or measured placements with --devices",
        ),
    ),
)


def _plan(options: PlanOptions) -> None:
    """Rank the placements of a pair, and find the cheapest machines for a load.

    Rates are predicted for named machines, or taken from measurements with --devices. A draft may
    be on a CPU or a small GPU beside a target on a large one. Times are those of a question of 40
    steps at the stated acceptance.
    """
    table = PriceTable({}) if options.prices is None else read_prices(options.prices)
    single: list[Candidate] = []
    if options.devices is not None:
        found = measured_candidates(read_placements(options.devices))
    else:
        machines = [table.machine(name) for name in options.machine or tuple(table.machines)]
        pair = Pair(find_architecture(options.target or ""), find_architecture(options.draft or ""))
        found = candidates(pair, machines)
        single = alone(pair, machines)
    ranked = rank(found, options.acceptance)
    offered: list[Offer] = []
    if options.load is not None:
        load = Load(options.load, options.latency)
        offered = offers([*found, *single], load, options.acceptance)
        if not offered:
            fastest = ranked[0].expected
            raise BadOption(
                f"no placement answers within {options.latency:g} s: the fastest takes "
                f"{min(fastest.seconds, fastest.alone):.1f} s; allow more with --latency, or name "
                "faster machines"
            )
    if options.as_json:
        rows = {"placements": _rows(ranked), "offers": [_offer_row(one) for one in offered]}
        print(json.dumps(rows, indent=2))
        return
    _show(ranked, offered, options, table.currency)


plan_command = command(_plan, Declared(PlanOptions), rules=_RULES)


def _rows(ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    return [
        {
            "placement": one.candidate.name,
            "seconds": one.expected.seconds,
            "target alone": one.expected.alone,
            "speed-up": one.expected.alone / one.expected.seconds,
            "draft cost": one.expected.ratio,
            "window": one.expected.window,
            "fallback": one.expected.fallback,
            "price": one.candidate.price_of(1),
        }
        for one in ranked
    ]


def _offer_row(offer: Offer) -> dict[str, Any]:
    return {
        "placement": offer.candidate.name,
        "copies": offer.placements,
        "concurrency": offer.concurrency,
        "seconds": offer.seconds,
        "machines": offer.machines,
        "price": offer.price,
        "per million": offer.per_million,
    }


def _show(
    ranked: Sequence[Ranked], offered: Sequence[Offer], options: PlanOptions, currency: str
) -> None:
    console = stdout_console(_WIDTH)
    source = "measured costs" if options.devices else "rates of named devices"
    title = f"Placements by {source}, acceptance {options.acceptance:g}. Speeds are predictions."
    _print(console, title, [_cells(row, currency) for row in _rows(ranked)[:_SHOWN]])
    if offered:
        order = "cheapest" if any(one.price is not None for one in offered) else "fewest"
        title = f"Machines for {options.load:g} questions a minute, the {order} first."
        _print(console, title, [_cells(_offer_row(one), currency) for one in offered[:_SHOWN]])


def _cells(row: dict[str, Any], currency: str) -> dict[str, str]:
    return {_head(name, currency): _cell(name, value) for name, value in row.items()}


def _head(name: str, currency: str) -> str:
    money = {"price": "an hour", "per million": "a million"}
    return f"{currency} {money[name]}".strip() if name in money else name


def _cell(name: str, value: Any) -> str:
    if value is None:
        return _UNKNOWN
    if isinstance(value, dict):
        return ", ".join(f"{count} x {machine}" for machine, count in value.items()) or _UNKNOWN
    if isinstance(value, float):
        return f"{value:.0f}" if name == "per million" else f"{value:.2f}"
    return str(value)


def _print(console: Console, title: str, rows: Sequence[dict[str, str]]) -> None:
    shown = [name for name in rows[0] if any(row[name] != _UNKNOWN for row in rows)]
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for name in shown:
        if name in ("placement", "machines"):
            table.add_column(name, overflow="fold", ratio=1)
        else:  # a head of several words must not take the width that the names need
            justify: Literal["left", "right"] = "left" if name == "fallback" else "right"
            table.add_column(name.replace(" ", "\n", 1), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    console.print(table)
