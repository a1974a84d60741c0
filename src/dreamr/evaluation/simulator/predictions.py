"""What a method would do for a named pair, on each number of devices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.machines import ModelPair, Placement
from dreamr.evaluation.simulator.scenario import Outcome, Scenario, simulate

BATCHED = 0.02  # how much longer a token takes for each further sequence beside it: memory-bound


@dataclass(frozen=True, slots=True)
class Placed:
    """A prediction for one placement. costs: of its work, in seconds.

    outcome: of the method. alone: of the target on its own devices. spread: of the target alone on
    all of these devices, as far as a power of two of them can be used.
    """

    placement: Placement
    costs: Costs
    outcome: Outcome
    alone: Outcome
    spread: Outcome

    @property
    def speedup(self) -> float:
        """Over the target alone on the target's devices."""
        return self.alone.seconds / self.outcome.seconds

    @property
    def honest_speedup(self) -> float:
        """Over the target alone on all of the devices: what they bring that are the draft's."""
        return self.spread.seconds / self.outcome.seconds


def predict(pair: ModelPair, scenario: Scenario) -> list[Placed]:
    """The scenario's method on each placement of the pair; its costs and devices are not used."""
    return [_placed(pair, scenario, placement) for placement in pair.placements()]


def _placed(pair: ModelPair, scenario: Scenario, placement: Placement) -> Placed:
    costs = pair.costs(placement.target)
    devices = Devices(
        colocated=placement.colocated, slowdown=BATCHED, replicas=scenario.devices.replicas
    )
    placed = replace(scenario, costs=costs, devices=devices)
    alone = simulate(placed.alone())
    spread = alone
    most = 1 << (placement.devices.bit_length() - 1)
    if most != placement.target:
        spread = simulate(replace(placed, costs=pair.costs(most)).alone())
    return Placed(placement, costs, simulate(placed), alone, spread)
