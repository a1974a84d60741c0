"""The page about scale has the figures of its results file, and the file those of the script."""

from __future__ import annotations

import json
import runpy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from support.scripts import run_script

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "scale.py"
PAGE = (ROOT / "docs" / "design" / "scale.md").read_text(encoding="utf-8")
RESULTS: dict[str, Any] = json.loads(
    (ROOT / "benchmarks" / "results" / "scale.json").read_text(encoding="utf-8")
)


def tables() -> list[list[list[str]]]:
    """The cells of the rows of each table of the page, without its head."""
    found: list[list[list[str]]] = []
    lines = [*PAGE.splitlines(), ""]
    for before, line in pairwise(lines):
        if line.startswith("|--"):
            found.append([])
        elif line.startswith("|") and before.startswith("|"):
            found[-1].append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def rounded(value: float) -> str:
    """A figure as tables show it: large ones without decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


def test_the_assumed_values_are_those_of_the_results() -> None:
    assumed = {name: figure for name, figure, _ in tables()[1]}
    assert assumed == {name: rounded(value) for name, value in RESULTS["assumed"].items()}


def test_what_grows_is_as_in_the_results() -> None:
    names = (
        "replicas",
        "answers per second",
        "engine sets",
        "open streams",
        "engine requests per second",
        "store commands per second",
        "readiness checks per second",
        "time series",
    )
    expected = [[rounded(row[name]) for name in names] for row in RESULTS["rows"]]
    assert tables()[2] == expected


def test_prices_are_as_in_the_results() -> None:
    currency = RESULTS["currency"]
    expected = [
        [
            rounded(row["replicas"]),
            f"{row['price an hour']:,.2f} {currency}",
            f"{row['price a million answers']:,.0f} {currency}",
            f"{row['share of gateways in the price']:.1%}".replace("%", " %"),
        ]
        for row in RESULTS["rows"]
    ]
    assert tables()[3] == expected


def test_placements_are_as_in_the_results() -> None:
    expected = [
        [
            one["placement"],
            method,
            str(one["concurrency"]),
            f"{one['seconds']:.1f}",
            f"{one['price a million answers']:,} {RESULTS['currency']}",
        ]
        for method, one in (("pair", RESULTS["pair"]), ("target alone", RESULTS["target alone"]))
    ]
    assert tables()[4] == expected


def test_figures_in_sentences_are_as_in_the_results() -> None:
    last, full = RESULTS["rows"][-1], RESULTS["saturation, replicas"]
    busiest = last["busiest engine"]
    for sentence in (
        f"An answer takes {RESULTS['gateway seconds']['whole answer']:.2f} s of it",
        f"{last['open streams of a replica']:.0f} open streams of a replica take "
        f"{last['memory of streams, MB a replica']:.0f} MB",
        f"an engine {RESULTS['assumed']['engines']:.0%} full".replace("%", " %"),
        f"is {busiest['p99 over mean']:.2f} times the mean",
        f"the ring is {busiest['part over mean']:.2f} times the mean",
        f"from {full['a router with 1000 readiness checks a second']:,} replicas",
        f"a million time series from {full['a million time series']:,} replicas",
        f"at {full['one store process']:,} replicas",
        f"answer within {RESULTS['models']['latency']:.0f} s",
    ):
        assert sentence in PAGE


def test_the_results_are_those_that_the_script_computes(tmp_path: Path) -> None:
    out = tmp_path / "scale.json"
    run_script(SCRIPT, "--out", out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found.pop("provenance")
    assert found == {name: value for name, value in RESULTS.items() if name != "provenance"}


def test_assumed_values_can_be_changed() -> None:
    changed = runpy.run_path(str(SCRIPT))["with_changes"]
    assert changed(["utilization=0.5", "gateways=8"]).utilization == 0.5
    assert changed(["utilization=0.5", "gateways=8"]).gateways == 8
    assert changed([]).store == RESULTS["assumed"]["store"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("utilisation=1", "unknown value 'utilisation': the assumed values are utilization,"),
        ("gateways=1.5", "gateways must be a whole number above 0, not '1.5'"),
        ("check=-1", "check must be a number above 0, not '-1'"),
        ("check=inf", "check must be a number above 0, not 'inf'"),
        ("check", "check must be a number above 0, not ''"),
    ],
)
def test_a_wrong_change_is_refused(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runpy.run_path(str(SCRIPT))["with_changes"]([change])
