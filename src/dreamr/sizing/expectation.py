"""What a pair is expected to gain: the simulator with the rates of its devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.machines import Gpu, ModelSpec, rates
from dreamr.evaluation.simulator.predictions import BATCHED
from dreamr.evaluation.simulator.scenario import Scenario, simulate
from dreamr.schedules import ScheduleConfig
from dreamr.schedules.protocol import Fallback
from dreamr.sizing.architecture import Architecture
from dreamr.sizing.devices import Device
from dreamr.sizing.layout import Layout, Pair

ACCEPTANCES = (0.5, 0.7, 0.8, 0.9)
LIKELY = 0.8  # acceptance that decides, as in `dreamr doctor`
WORTH, TOKEN_SPECULATION = 1.2, 1.5  # speed-ups: least, and what a flag of the server usually gives
WINDOWS = (8, 4, 2)
FALLBACKS: tuple[Fallback, ...] = ("auto", "on-reject")
_DEFAULT = ScheduleConfig()
_QUESTION = 20  # tokens of the judge prompt
_QUESTION_TEXT = 200  # tokens of a question beside its image
_SMALL = 6 * 10**9  # active parameters, below which a drafted token costs much of the target's
_EXPENSIVE = 0.3  # of a target token, above which a draft is too large
_NEAR = 0.02  # of a speed-up, below which a default is kept
_REQUESTS = 4  # each with the stated share of accepted steps


@dataclass(frozen=True, slots=True)
class ModelRates:
    """Seconds of a model's work on its devices, alone.

    Attributes:
        token: A decoded token.
        read: A token of a prompt among many.
    """

    token: float
    read: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a pair is expected to gain on its devices.

    Attributes:
        costs: Costs of the work, in seconds.
        speedups: Speed-up over the target alone, for each of `ACCEPTANCES`.
        seconds: Seconds of a question of usual length at the likely acceptance.
        alone: The same by the target alone on its devices.
        spread: The same by the target alone on all devices of the pair.
        window: Window that is best at the likely acceptance.
        fallback: Fallback that is best at the likely acceptance.
    """

    costs: Costs
    speedups: tuple[float, ...]
    seconds: float
    alone: float
    spread: float
    window: int
    fallback: Fallback

    @property
    def ratio(self) -> float:
        """Cost of a drafted token in tokens of the target."""
        return self.costs.draft / self.costs.target

    @property
    def likely(self) -> float:
        """Speed-up at the likely acceptance."""
        return self.speedups[ACCEPTANCES.index(LIKELY)]

    @property
    def equal(self) -> float:
        """Speed-up at the likely acceptance over the target alone on all devices of the pair."""
        return self.spread / self.seconds


def model_rates(model: Architecture, gpu: Gpu, count: int = 1) -> ModelRates:
    """Return the predicted rates of a model on `count` devices of one kind."""
    spec = ModelSpec(
        model.name,
        model.parameters / 1e9,
        model.active / 1e9,
        model.layers,
        model.bits,
        model.source,
        model.experts,
    )
    table = rates()
    return ModelRates(table.token(spec, gpu, count), table.reading(spec, gpu, count))


def pair_costs(target: ModelRates, draft: ModelRates, prompt: int) -> Costs:
    """Return the costs of a pair.

    Args:
        target: Rates of the target.
        draft: Rates of the draft.
        prompt: Tokens of the prompt, images included.
    """
    return Costs(
        draft=draft.token,
        target=target.token,
        judge=target.token,  # a forward pass reads the weights once, like a decoded token
        judge_step=_QUESTION * target.read,
        judge_token=target.read,
        prompt_draft=prompt * draft.read,
        prompt_target=prompt * target.read,
        message=rates().assumptions.request_seconds,
    )


def layout_costs(
    pair: Pair, layout: Layout, devices: Sequence[Device], shards: int | None = None
) -> Costs:
    """Return the costs of a pair in a layout.

    Args:
        pair: The models.
        layout: The layout.
        devices: The devices.
        shards: Devices of the target, if not those of the layout.
    """
    places, draft = layout.target.devices, layout.draft.devices
    return pair_costs(
        model_rates(pair.target, devices[places[0]].rates, shards or len(places)),
        model_rates(pair.draft, devices[draft[0]].rates, len(draft)),
        pair.target.tokens_of_image(layout.pixels) + _QUESTION_TEXT,
    )


def expect_layout(pair: Pair, layout: Layout, devices: Sequence[Device]) -> Expectation:
    """Simulate a pair in a layout."""
    found = expect(layout_costs(pair, layout, devices), colocated=layout.colocated)
    same = {devices[index] for index in (*layout.target.devices, *layout.draft.devices)}
    most = 1 << (layout.devices.bit_length() - 1)
    if len(same) > 1 or not pair.target.divides(most) or most == len(layout.target.devices):
        return found
    spread = Scenario(
        layout_costs(pair, layout, devices, most), requests=_REQUESTS, even=True
    ).alone()
    return replace(found, spread=simulate(spread).latency)


@lru_cache(256)
def expect(costs: Costs, *, colocated: bool, likely: float = LIKELY) -> Expectation:
    """Simulate a pair: its best window and fallback, and its speed-ups.

    Args:
        costs: Costs of the pair.
        colocated: Whether both models share a device.
        likely: Acceptance at which time, window and fallback are taken.
    """
    devices = Devices(colocated=colocated, slowdown=BATCHED)
    scenario = Scenario(costs, devices=devices, acceptance=likely, requests=_REQUESTS, even=True)
    options = _best_options(scenario)
    outcomes = [
        simulate(replace(scenario, options=options, acceptance=share)) for share in ACCEPTANCES
    ]
    alone = simulate(scenario.alone())
    found = simulate(replace(scenario, options=options))
    return Expectation(
        costs,
        tuple(alone.seconds / outcome.seconds for outcome in outcomes),
        found.latency,
        alone.latency,
        alone.latency,
        options.window,
        options.fallback,
    )


def _best_options(scenario: Scenario) -> ScheduleConfig:
    """Return window and fallback with the shortest time; near ties go to the defaults."""
    best, shortest = _DEFAULT, simulate(replace(scenario, options=_DEFAULT)).seconds
    for fallback in FALLBACKS:
        for window in WINDOWS:
            tried = replace(_DEFAULT, window=window, fallback=fallback)
            seconds = simulate(replace(scenario, options=tried)).seconds
            if seconds < shortest * (1 - _NEAR):
                best, shortest = tried, seconds
    return best


def verdict(pair: Pair, expected: Expectation) -> tuple[str, ...]:
    """Return whether a pair is worth it, and why, in sentences."""
    gain, found = min(expected.likely, expected.equal), []
    likely = (
        f"expected {gain:.2f} times the target alone on the same devices if {LIKELY:.0%} of the "
        "steps are accepted"
    )
    if gain < WORTH:
        found.append(f"Hardly worth it: {likely}.")
    elif gain < TOKEN_SPECULATION:
        found.append(
            f"Perhaps worth it: {likely}. Compare with token-level speculation of the target alone,"
            f" which usually gives {TOKEN_SPECULATION:g} times and more."
        )
    else:
        found.append(f"Worth it: {likely}.")
    if pair.target.experts and pair.target.active < _SMALL:
        found.append(
            f"A token of the target reads only {pair.target.active / 1e9:.1f} billion parameters, "
            f"so a drafted token costs {expected.ratio:.0%} of it. Such targets rarely gain."
        )
    elif expected.ratio > _EXPENSIVE:
        found.append(
            f"A drafted token costs {expected.ratio:.0%} of a target token; choose a draft with a "
            "tenth of the target's parameters."
        )
    for role, model in (("target", pair.target), ("draft", pair.draft)):
        if model.hybrid:
            found.append(
                f"The {role} has recurrent layers: servers reuse its prefixes in large blocks only,"
                " so verdicts cost more than predicted here. Measure with dreamr doctor."
            )
    return tuple(found)
