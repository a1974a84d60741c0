"""Many requests over some devices, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dreamr.errors import Unsupported
from dreamr.evaluation.simulator.clock import Clock
from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import BadScenario, Device, Devices
from dreamr.evaluation.simulator.driver import VirtualRun
from dreamr.evaluation.simulator.script import Lengths, Script, draw_script
from dreamr.evaluation.simulator.work import Tally
from dreamr.schedules import METHODS, ScheduleConfig, by_name
from dreamr.steps import Role
from dreamr.trace import Event

_UNLIMITED = 2**40  # tokens of a run: the script alone says when it is over
_OWN_GATES = ("lookahead", "specreason")  # which trust nobody
_BY_TOKENS = ("token-sd", "prompt-lookup")  # faster within steps, of which virtual time knows none
STEPWISE = tuple(method for method in METHODS if method not in _BY_TOKENS)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is to be simulated.

    costs: on one device each. draft_steps, target_steps: lengths of their steps. acceptance: of a
    drafted step, independent. resample_acceptance: how often another try at a rejected step is
    accepted. skipped_verification: how many of the accepted steps the draft is sure of, so that the
    target need not read them. steps: of a request, the answer included. ends: whether there is an
    answer; without, the closed forms hold to the last step. even: whether the share of accepted
    steps is as stated in every request, or on the average. requests: how many, `concurrency` of
    them side by side.
    """

    costs: Costs
    method: str = "fpsr"
    options: ScheduleConfig = field(default_factory=ScheduleConfig)
    devices: Devices = field(default_factory=Devices)
    draft_steps: Lengths = field(default_factory=lambda: Lengths(24))
    target_steps: Lengths = field(default_factory=lambda: Lengths(24))
    acceptance: float = 0.7
    resample_acceptance: float = 0.3
    skipped_verification: float = 0.0
    steps: int = 40
    ends: bool = True
    even: bool = False
    requests: int = 25
    concurrency: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("acceptance", "resample_acceptance", "skipped_verification"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadScenario(f"{name} must lie in [0, 1], not {getattr(self, name):g}")
        for name in ("steps", "requests", "concurrency"):
            if getattr(self, name) < 1:
                raise BadScenario(f"{name} must be at least 1, not {getattr(self, name)}")

    def script(self, request: int) -> Script:
        """Of one request; it does not depend on method or machine."""
        return draw_script(
            f"{self.seed} {request}",
            self.steps,
            self.acceptance,
            self.draft_steps,
            self.target_steps,
            ends=self.ends,
            even=self.even,
            resample_acceptance=self.resample_acceptance,
            skipped_verification=self.skipped_verification,
        )

    def alone(self) -> Scenario:
        """The same requests with the target alone on the target's devices."""
        return replace(self, method="target", devices=replace(self.devices, colocated=False))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a simulation.

    seconds: from the first request's start to the last one's end. runs: one a request, in order.
    replicas: how many sets of devices there were.
    """

    seconds: float
    runs: tuple[Tally, ...]
    replicas: int

    @property
    def latency(self) -> float:
        """Mean seconds of a request."""
        return sum(run.seconds for run in self.runs) / len(self.runs)

    @property
    def requests_a_second(self) -> float:
        return len(self.runs) / self.seconds

    @property
    def accepted(self) -> float | None:
        """The share of the steps that were decided on; None without any."""
        accepted = sum(run.accepted for run in self.runs)
        decided = accepted + sum(run.rejected for run in self.runs)
        return accepted / decided if decided else None

    @property
    def wasted(self) -> float:
        """Tokens that were written and not committed, over those that were."""
        return sum(run.wasted for run in self.runs) / sum(run.tokens for run in self.runs)

    def busy(self, work: str) -> float:
        """Seconds of work of 'draft', 'target' or 'judge' in a second, for each pair."""
        return sum(run.busy[work] for run in self.runs) / self.seconds / self.replicas


def simulate(scenario: Scenario) -> Outcome:
    """Run all requests.

    Raises:
        Unsupported: an unknown method, or one that does what has no virtual counterpart.
    """
    scripts = [scenario.script(request) for request in range(scenario.requests)]
    return run_scripts(
        scripts,
        scenario.method,
        scenario.options,
        scenario.costs,
        scenario.devices,
        scenario.concurrency,
    )


def speedup(scenario: Scenario) -> float:
    """Over the target alone, on the target's devices, with the same requests."""
    return simulate(scenario.alone()).seconds / simulate(scenario).seconds


def run_scripts(
    scripts: Sequence[Script],
    method: str,
    options: ScheduleConfig,
    costs: Costs,
    devices: Devices,
    concurrency: int = 1,
    emit: Callable[[int, Event], None] | None = None,
) -> Outcome:
    """Run scripts in order, `concurrency` of them side by side, each on the least busy pair.

    emit: takes each script's number and the events of its run. Raises: see `simulate`.
    """
    if method in _BY_TOKENS:
        raise Unsupported(f"{method} is no matter of whole steps: measure it instead of simulating")
    if method in _OWN_GATES:
        scripts = [script.fully_verified() for script in scripts]
    clock = Clock()
    replicas = [_replica(clock, devices) for _ in range(devices.replicas)]
    load = [0] * devices.replicas
    costs = costs.spread_out(devices.speed)
    runs: list[VirtualRun] = []

    def begin() -> None:
        number = len(runs)
        if number == len(scripts):
            return
        place = load.index(min(load))
        load[place] += 1

        def finished() -> None:
            load[place] -= 1
            clock.after(0.0, begin)

        script = scripts[number]
        schedule = by_name(method, _limits(options, script))
        told = None if emit is None else _numbered(emit, number)
        run = VirtualRun(clock, replicas[place], schedule, script, costs, finished, told)
        runs.append(run)
        run.start()

    for _ in range(min(concurrency, len(scripts))):
        begin()
    clock.run()
    ended = max(run.tally.ended for run in runs)
    return Outcome(ended, tuple(run.tally for run in runs), devices.replicas)


def _numbered(emit: Callable[[int, Event], None], number: int) -> Callable[[Event], None]:
    return lambda event: emit(number, event)


def _limits(options: ScheduleConfig, script: Script) -> ScheduleConfig:
    """Where no answer ends the run, its number of steps does."""
    most = len(script) + (1 if script.ends else 0)
    return replace(options, max_steps=most, max_tokens=_UNLIMITED)


def _replica(clock: Clock, devices: Devices) -> dict[Role, Device]:
    target = Device(clock, devices)
    return {"target": target, "draft": target if devices.colocated else Device(clock, devices)}
