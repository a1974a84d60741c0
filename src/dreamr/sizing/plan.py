"""Placements of a pair, ranked, and the cheapest machines for a load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from math import ceil

from dreamr._numbers import three_digits
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.predictions import BATCHED
from dreamr.evaluation.simulator.scenario import Scenario, simulate
from dreamr.schedules import ScheduleConfig
from dreamr.sizing.devices import GB, Device, copies_of, equal_groups
from dreamr.sizing.expectation import LIKELY, Expectation, expect, layout_costs
from dreamr.sizing.layout import (
    Layout,
    Pair,
    Part,
    TooLarge,
    layouts,
    layouts_alone,
    layouts_apart,
)
from dreamr.sizing.machines import Machine
from dreamr.sizing.measured import MeasuredPlacement

CONCURRENCIES = (1, 4, 16, 32)
MOST_RANKED = 12  # placements that are simulated closely
_MINUTE = 60
_MILLION = 10**6
_REQUESTS = 4  # fewest of a simulation


@dataclass(frozen=True, slots=True)
class Use:
    """Machines of one kind that a placement takes.

    Attributes:
        machine: The machine.
        copies: Placements that fit on one of them.
    """

    machine: Machine
    copies: int

    def count(self, placements: int) -> int:
        """Return the number of machines for this number of placements."""
        return ceil(placements / self.copies)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A placement of a pair.

    Attributes:
        name: Where the models are.
        costs: Costs of the work, in seconds.
        colocated: Whether the models share a device.
        most: Conversations that fit at a time.
        uses: The machines that it takes; empty for a measured placement.
        price: Price of an hour of a measured placement, if it is known.
        method: Method: `fpsr`, or `target` for the target alone.
    """

    name: str
    costs: Costs
    colocated: bool
    most: int
    uses: tuple[Use, ...] = ()
    price: float | None = None
    method: str = "fpsr"

    def price_of(self, placements: int) -> float | None:
        """Return the price of an hour of this number of placements, None if it is unknown."""
        if not self.uses:
            return None if self.price is None else self.price * placements
        prices = [use.machine.price for use in self.uses]
        if any(price is None for price in prices):
            return None
        return sum((use.machine.price or 0.0) * use.count(placements) for use in self.uses)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A placement and what is expected of it.

    Attributes:
        candidate: The placement.
        expected: What the simulator expects of single questions.
    """

    candidate: Candidate
    expected: Expectation


@dataclass(frozen=True, slots=True)
class Load:
    """A stated load.

    Attributes:
        questions: Questions per minute.
        latency: Longest mean time of a question in seconds; None: any.
    """

    questions: float
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Machines that serve a load.

    Attributes:
        candidate: The placement.
        placements: Number of placements.
        concurrency: Questions at a time on each.
        seconds: Mean time of a question.
        machines: Number of machines by name.
        price: Price of an hour, None if it is unknown.
        per_million: Price of a million answers at full load, None if it is unknown.
    """

    candidate: Candidate
    placements: int
    concurrency: int
    seconds: float
    machines: dict[str, int] = field(default_factory=dict)
    price: float | None = None
    per_million: float | None = None


def candidates(
    pair: Pair, machines: Sequence[Machine], context: int | None = None, pixels: int | None = None
) -> list[Candidate]:
    """Return the placements of a pair on one of the machines, or on two of different kinds.

    Raises:
        TooLarge: If the pair fits nowhere.
    """
    found = [*_on_one(pair, machines, context, pixels), *_on_two(pair, machines, context, pixels)]
    if not found:
        for machine in machines:
            layouts(pair, machine.gpus or machine.devices, context, pixels)  # says what is missing
    return found


def _on_one(
    pair: Pair, machines: Sequence[Machine], context: int | None, pixels: int | None
) -> Iterator[Candidate]:
    for machine in machines:
        try:
            found = layouts(pair, machine.devices, context, pixels)
        except TooLarge:
            continue
        for layout in found:
            if machine.gpus and machine.devices[layout.target.devices[0]].is_cpu:
                continue  # a target for which the GPUs are too small
            used = {*layout.target.devices, *layout.draft.devices}
            shares_cpu = any(machine.devices[index].is_cpu for index in used)
            copies = (
                1 if shares_cpu else copies_of([machine.devices[n] for n in used], machine.gpus)
            )
            yield Candidate(
                f"{machine.name}: {_where(layout, machine)}",
                layout_costs(pair, layout, machine.devices),
                layout.colocated,
                layout.usual,
                (Use(machine, copies),),
            )


def _on_two(
    pair: Pair, machines: Sequence[Machine], context: int | None, pixels: int | None
) -> Iterator[Candidate]:
    for first, second in permutations(machines, 2):
        devices = (*first.gpus, *(second.gpus or second.devices))
        for layout in layouts_apart(pair, devices, len(first.gpus), context, pixels):
            targets = copies_of([devices[n] for n in layout.target.devices], first.gpus)
            drafts = copies_of([devices[n] for n in layout.draft.devices], second.devices)
            kind = _kind(devices[layout.draft.devices[0]], second)
            yield Candidate(
                f"{first.name} + {second.name}: target on "
                f"{_gpus(layout.target, devices, first)}, draft on {second.name}{kind}",
                layout_costs(pair, layout, devices),
                False,
                layout.usual,
                (Use(first, targets), Use(second, drafts)),
            )


def alone(
    pair: Pair, machines: Sequence[Machine], context: int | None = None, pixels: int | None = None
) -> list[Candidate]:
    """Return the placements of the target alone on one of the machines, with all their memory."""
    single, found = Pair(pair.target, pair.target), []
    for machine in machines:
        for layout in layouts_alone(pair.target, machine.gpus, context, pixels):
            used = [machine.gpus[index] for index in layout.target.devices]
            found.append(
                Candidate(
                    f"{machine.name}: target alone on "
                    f"{_gpus(layout.target, machine.gpus, machine)}",
                    layout_costs(single, layout, machine.gpus),
                    False,
                    layout.target.usual,
                    (Use(machine, copies_of(used, machine.gpus)),),
                    method="target",
                )
            )
    return found


def _where(layout: Layout, machine: Machine) -> str:
    draft = layout.draft.devices
    if machine.devices[draft[0]].is_cpu:
        place = "CPU" if not layout.colocated else "the same CPU"
    else:
        place = _gpus(layout.draft, machine.devices, machine)
        if layout.colocated:
            place = f"the same {_listed(len(draft))}"
        if layout.colocated and len(layout.target.devices) == 1:
            place = "the same GPU"
    if machine.devices[layout.target.devices[0]].is_cpu:
        return f"target on CPU, draft on {place}"
    return f"target on {_gpus(layout.target, machine.devices, machine)}, draft on {place}"


def _gpus(part: Part, devices: Sequence[Device], machine: Machine) -> str:
    """Return the number of GPUs, with their kind if the machine has several."""
    return f"{_listed(len(part.devices))}{_kind(devices[part.devices[0]], machine)}"


def _kind(device: Device, machine: Machine) -> str:
    if device.is_cpu or len(equal_groups(machine.gpus)) == 1:
        return ""
    return f" ({f'{three_digits(device.memory / GB)} GB' if device.assumed else device.kind})"


def _listed(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def measured_candidates(placements: Sequence[MeasuredPlacement]) -> list[Candidate]:
    """Return the candidates of measured placements."""
    return [
        Candidate(one.name, one.costs, one.shared, CONCURRENCIES[-1], price=one.price)
        for one in placements
    ]


def rank(found: Sequence[Candidate], acceptance: float = LIKELY) -> list[Ranked]:
    """Return the placements by the expected time of a question, the fastest first.

    Args:
        found: The placements.
        acceptance: Probability that a drafted step is accepted.
    """
    ranked = [
        Ranked(one, expect(one.costs, colocated=one.colocated, likely=acceptance))
        for one in _promising(found, acceptance)
    ]
    return sorted(ranked, key=lambda one: one.expected.seconds)


def _promising(found: Sequence[Candidate], acceptance: float) -> list[Candidate]:
    """Return the placements that are fastest with the default options, each kind once."""
    options = ScheduleConfig()
    timed = [(_latency(_scenario(one, options, acceptance, 1)), one) for one in found]
    fastest: dict[tuple[str, float | None], Candidate] = {}
    for _, one in sorted(timed, key=lambda pair: pair[0]):
        fastest.setdefault((one.name, one.price), one)
    return list(fastest.values())[:MOST_RANKED]


def offers(found: Sequence[Candidate], load: Load, acceptance: float = LIKELY) -> list[Offer]:
    """Return what serves a load, the cheapest first; by the number of machines without prices.

    For each placement, the highest concurrency counts whose mean time is at most the stated one.
    Placements that are too slow are left out.

    Args:
        found: The placements, also those of the target alone.
        load: The load.
        acceptance: Probability that a drafted step is accepted.
    """
    offered = (_offer(one, load, acceptance) for one in found)
    return sorted((offer for offer in offered if offer is not None), key=_expense)


def _expense(offer: Offer) -> tuple[float, int, float]:
    price = float("inf") if offer.price is None else offer.price
    return price, sum(offer.machines.values()) or offer.placements, offer.seconds


def _offer(one: Candidate, load: Load, acceptance: float) -> Offer | None:
    options = ScheduleConfig(fallback="on-reject" if one.colocated else "auto")
    best: tuple[float, int, float] | None = None
    for concurrency in CONCURRENCIES:
        if concurrency > max(1, one.most):
            break
        latency = _latency(_scenario(one, options, acceptance, concurrency))
        if load.latency is not None and latency > load.latency:
            break
        rate = concurrency / latency
        if best is None or rate > best[0]:
            best = rate, concurrency, latency
    if best is None:
        return None
    rate, concurrency, seconds = best
    placements = max(1, ceil(load.questions / _MINUTE / rate - 1e-9))
    price = one.price_of(placements)
    full = one.price_of(1)
    return Offer(
        one,
        placements,
        concurrency,
        seconds,
        {use.machine.name: use.count(placements) for use in one.uses},
        price,
        None if price is None or full is None else _million(price, placements * rate),
    )


def _scenario(
    one: Candidate, options: ScheduleConfig, acceptance: float, concurrency: int
) -> Scenario:
    return Scenario(
        one.costs,
        method=one.method,
        options=options,
        devices=Devices(colocated=one.colocated, slowdown=BATCHED),
        acceptance=acceptance,
        even=True,
        requests=max(_REQUESTS, concurrency),
        concurrency=concurrency,
    )


@lru_cache(4096)
def _latency(scenario: Scenario) -> float:
    """Return the mean time of a question; many placements have the same costs."""
    return simulate(scenario).latency


def _million(price: float, rate: float) -> float:
    """Return the price of a million answers at this rate per second."""
    return price / 3600 / rate * _MILLION
