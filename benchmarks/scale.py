"""Compute what grows with the number of gateway replicas, and what a million answers cost.

    python benchmarks/scale.py [--out FILE.json] [--prices FILE.toml] [--assume NAME=VALUE]

Nothing is measured here. Costs of the gateway come from the result files of gateway.py,
overhead.py and http_overhead.py, those of the models from the simulator with the rates of named
devices, prices from a table. Values without a source are inputs: the class `Assumed` lists them,
and --assume changes them.

For each number of replicas: answers per second at a stated utilization; sets of engines that serve
them; requests to engines, commands of the store and readiness checks per second; open streams and
memory. Conversations stick to an engine by a consistent hash, so the busiest engine has more of
them than the mean. How much more is simulated: the ring is drawn, and the conversations of each
engine follow a Poisson distribution around its part of the ring.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np

from dreamr.sizing import Pair, find_architecture
from dreamr.sizing.expectation import LIKELY
from dreamr.sizing.machines import read_prices
from dreamr.sizing.plan import Load, Offer, alone, candidates, offers
from dreamr.tooling import provenance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PRICES = ROOT / "examples" / "machines" / "prices.toml"
TARGET, DRAFT = "Qwen/Qwen3-VL-32B-Instruct-FP8", "Qwen/Qwen3-VL-2B-Instruct"
REPLICAS = (1, 10, 100, 1000)
REFUSED = 4  # one of this many steps is rejected, in the measurement that is nearest to LIKELY
STEPS = 41  # of an answer: 40 steps and the final answer, as in the simulator
LATENCY = 20.0  # longest mean seconds of a question
SHOWN = 5  # offers
SEED = 0


@dataclass(frozen=True)
class Assumed:
    """Values without a measurement, which --assume changes.

    Attributes:
        utilization: Share of a core that a gateway may use.
        requests: Requests to engines for each step: drafting, judging and the target's own writing.
        commands: Commands of the store for each answer: quotas, the stored response, statistics.
        store: Commands per second that one Redis process serves.
        stream: Bytes of memory of an open stream in a gateway.
        check: Seconds between two readiness checks of a model by a gateway.
        series: Time series of a gateway, scraped by Prometheus.
        points: Points of an engine on the ring of a consistent hash.
        engines: Share of an engine's most conversations that are open on average.
        gateways: Gateways (cores) on a machine of the price below.
        gateway_price: Price of an hour of such a machine.
    """

    utilization: float = 0.7
    requests: float = 2.0
    commands: float = 8.0
    store: float = 100_000.0
    stream: float = 200_000.0
    check: float = 5.0
    series: int = 400
    points: int = 160
    engines: float = 0.7
    gateways: int = 16
    gateway_price: float = 0.6


def with_changes(changes: Sequence[str]) -> Assumed:
    """Return the assumed values with those that the user gives.

    Args:
        changes: Texts of the form NAME=VALUE.

    Raises:
        ValueError: If a name is unknown, or a value is not a number above 0.
    """
    kinds = {name: type(value) for name, value in asdict(Assumed()).items()}
    found: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in kinds:
            raise ValueError(f"unknown value {name!r}: the assumed values are {', '.join(kinds)}")
        try:
            value = kinds[name](text)
        except ValueError:
            value = 0
        if not 0 < value < inf:
            kind = "whole number" if kinds[name] is int else "number"
            raise ValueError(f"{name} must be a {kind} above 0, not {text!r}")
        found[name] = value
    return Assumed(**found)


def seconds_of_gateway() -> dict[str, float]:
    """Return processor seconds of a gateway, from measurements with engines that take no time."""
    gateway = json.loads((RESULTS / "gateway.json").read_text())["overhead"]
    http = json.loads((RESULTS / "http-overhead.json").read_text())["figures"]
    rows = json.loads((RESULTS / "overhead.json").read_text())["microseconds_a_step"]
    [run] = [row for row in rows if (row["method"], row["refused_one_of"]) == ("fpsr", REFUSED)]
    return {
        "answer": gateway["first_byte_p50"] / 1000,
        "step": gateway["step_p50"] / 1000,  # beyond a run without a gateway
        "run of a step": run["overhead"] / 1e6,  # schedule and runner
        "request": http["judge call"]["ms"] / 1000,
    }


def of_answer(seconds: dict[str, float], assumed: Assumed) -> float:
    """Return the processor seconds of an answer in a gateway."""
    requests = assumed.requests * seconds["request"]
    per_step = seconds["step"] + seconds["run of a step"] + requests
    return seconds["answer"] + STEPS * per_step


def busiest(sets: int, conversations: float, points: int) -> dict[str, float]:
    """Return the conversations of the busiest engines relative to the mean, by simulation.

    Args:
        sets: Number of sets of engines.
        conversations: Mean conversations of a set.
        points: Points of a set on the ring.
    """
    random = np.random.default_rng(SEED)
    places = np.sort(random.random(sets * points))
    owners = random.permutation(np.repeat(np.arange(sets), points))
    parts = np.bincount(owners, np.diff(places, append=places[0] + 1), sets)
    open_ones = random.poisson(np.tile(parts * sets * conversations, (200, 1)))
    return {
        "p99 over mean": round(float(np.quantile(open_ones, 0.99)) / conversations, 3),
        "part over mean": round(float(parts.max() * sets), 3),
    }


def row(replicas: int, offer: Offer, seconds: dict[str, float], assumed: Assumed) -> dict[str, Any]:
    """Return what a number of replicas needs."""
    rate = replicas * assumed.utilization / of_answer(seconds, assumed)
    capacity = offer.concurrency / offer.seconds
    sets = max(1, ceil(rate / (capacity * assumed.engines)))
    streams = rate * offer.seconds
    commands = rate * assumed.commands
    engines = offer.candidate.price_of(sets) or 0.0
    gateways = ceil(replicas / assumed.gateways) * assumed.gateway_price
    store = max(1, ceil(commands / (assumed.store * assumed.utilization)))
    return {
        "replicas": replicas,
        "answers per second": round(rate, 1),
        "engine sets": sets,
        "machines": {use.machine.name: use.count(sets) for use in offer.candidate.uses},
        "open streams": round(streams),
        "open streams of a replica": round(streams / replicas, 1),
        "memory of streams, MB a replica": round(streams / replicas * assumed.stream / 1e6, 1),
        "engine requests per second": round(rate * STEPS * assumed.requests),
        "readiness checks per second": round(2 * replicas / assumed.check, 1),
        "store commands per second": round(commands),
        "store processes": store,
        "time series": replicas * assumed.series,
        "busiest engine": busiest(sets, assumed.engines * offer.concurrency, assumed.points),
        "price an hour": round(engines + gateways, 2),
        "price a million answers": round((engines + gateways) / (rate * 3600) * 1e6, 2),
        "share of gateways in the price": round(gateways / (engines + gateways), 4),
    }


def saturation(seconds: dict[str, float], assumed: Assumed) -> dict[str, Any]:
    """Return at how many replicas each part is full."""
    rate = assumed.utilization / of_answer(seconds, assumed)  # answers per second of a replica
    return {
        "one store process": int(assumed.store * assumed.utilization / (rate * assumed.commands)),
        "a router with 1000 readiness checks a second": int(1000 * assumed.check / 2),
        "a million time series": 1_000_000 // assumed.series,
    }


def shown(offer: Offer) -> dict[str, Any]:
    """Return an offer for the file."""
    return {
        "placement": offer.candidate.name,
        "method": offer.candidate.method,
        "concurrency": offer.concurrency,
        "seconds": round(offer.seconds, 2),
        "price a million answers": None if offer.per_million is None else round(offer.per_million),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prices", type=Path, default=PRICES, help="price table")
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    parser.add_argument(
        "--assume",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change an assumed value, such as utilization=0.5; repeatable",
    )
    given = parser.parse_args()
    try:
        assumed = with_changes(given.assume)
    except ValueError as error:
        parser.error(str(error))
    seconds = seconds_of_gateway()
    table = read_prices(given.prices)
    pair = Pair(find_architecture(TARGET), find_architecture(DRAFT))
    machines = list(table.machines.values())
    found = [*candidates(pair, machines), *alone(pair, machines)]
    # At a high load, what counts is the price of an answer.
    load = Load(60_000, LATENCY)
    offered = sorted(offers(found, load), key=lambda one: one.per_million or float("inf"))
    best = next(one for one in offered if one.candidate.method == "fpsr")
    single = next(one for one in offered if one.candidate.method == "target")
    content = {
        "provenance": provenance(),
        "predicted": True,
        "models": {"target": TARGET, "draft": DRAFT, "acceptance": LIKELY, "latency": LATENCY},
        "currency": table.currency,
        "prices": {name: machine.price for name, machine in table.machines.items()},
        "assumed": asdict(assumed),
        "gateway seconds": {
            **{name: round(value, 6) for name, value in seconds.items()},
            "whole answer": round(of_answer(seconds, assumed), 4),
        },
        "offers": [shown(one) for one in offered[:SHOWN]],
        "pair": shown(best),
        "target alone": shown(single),
        "rows": [row(replicas, best, seconds, assumed) for replicas in REPLICAS],
        "saturation, replicas": saturation(seconds, assumed),
    }
    print(json.dumps({key: content[key] for key in ("pair", "target alone", "rows")}, indent=2))
    if given.out:
        given.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
