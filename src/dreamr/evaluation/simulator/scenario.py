"""Simulation of many requests on several devices in virtual time."""

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

_UNLIMITED = 2**40  # tokens of a run, whose length is set by its script
_VERIFY_ALL = ("lookahead", "specreason")  # their gates accept nothing without the target
_BY_TOKENS = ("token-sd", "prompt-lookup")  # they speculate within steps
STEPWISE = tuple(method for method in METHODS if method not in _BY_TOKENS)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A simulation.

    Attributes:
        costs: Costs of the engines on one device each, in seconds or in target-step units.
        method: Name of the method.
        options: Options of its schedule.
        devices: The devices.
        draft_steps: Lengths of the draft's steps.
        target_steps: Lengths of the target's steps.
        acceptance: Probability that a drafted step is accepted, independently of the others.
        resample_acceptance: Probability that a resample of a rejected step is accepted.
        skipped_verification: Share of the accepted steps that are accepted without the target,
            which then has not read them.
        steps: Steps per request, including the final answer.
        ends: Whether the last step is a final answer. Without it, the closed forms hold to the last
            step.
        even: Whether each request has the stated share of accepted steps, instead of the average.
        requests: Number of requests.
        concurrency: Requests that run concurrently.
        seed: Seed of the scripts.

    Raises:
        BadScenario: If a share or probability is outside [0, 1], or a number is below 1.
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
                raise BadScenario(f"{name} must be between 0 and 1, not {getattr(self, name):g}")
        for name in ("steps", "requests", "concurrency"):
            if getattr(self, name) < 1:
                raise BadScenario(f"{name} must be at least 1, not {getattr(self, name)}")

    def script(self, request: int) -> Script:
        """Return the script of a request, which does not depend on method or devices."""
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
        """Return the scenario of the same requests with the target alone on its own devices."""
        return replace(self, method="target", devices=replace(self.devices, colocated=False))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a simulation.

    Attributes:
        seconds: From the start of the first request to the end of the last one, in the unit of the
            costs.
        runs: Totals of each request, in order.
        replicas: Number of sets of devices.
    """

    seconds: float
    runs: tuple[Tally, ...]
    replicas: int

    @property
    def latency(self) -> float:
        """Mean seconds per request."""
        return sum(run.seconds for run in self.runs) / len(self.runs)

    @property
    def requests_a_second(self) -> float:
        """Throughput in requests per second."""
        return len(self.runs) / self.seconds

    @property
    def accepted(self) -> float | None:
        """Share of the decided steps that were accepted, or None if there are none."""
        accepted = sum(run.accepted for run in self.runs)
        decided = accepted + sum(run.rejected for run in self.runs)
        return accepted / decided if decided else None

    @property
    def wasted(self) -> float:
        """Tokens written but not committed, per committed token."""
        return sum(run.wasted for run in self.runs) / sum(run.tokens for run in self.runs)

    def busy(self, work: str) -> float:
        """Return the seconds of 'draft', 'target' or 'judge' work per second and replica."""
        return sum(run.busy[work] for run in self.runs) / self.seconds / self.replicas


def simulate(scenario: Scenario) -> Outcome:
    """Run all requests of a scenario.

    Raises:
        Unsupported: If the method is unknown or does not work on whole steps.
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
    """Return the speed-up over the target alone on its own devices, with the same requests."""
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
    """Run scripts in order, each on the replica with the fewest running requests.

    Args:
        scripts: One script per request.
        method: Name of the method.
        options: Options of its schedule.
        costs: Costs of the engines on one device each.
        devices: The devices.
        concurrency: Scripts that run concurrently.
        emit: Receives the number of a script and the events of its run.

    Raises:
        Unsupported: As for `simulate`.
    """
    if method in _BY_TOKENS:
        raise Unsupported(
            f"{method} does not work on whole steps, so it cannot be simulated: "
            "measure it with dreamr bench run"
        )
    if method in _VERIFY_ALL:
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
        record = None if emit is None else _numbered(emit, number)
        run = VirtualRun(clock, replicas[place], schedule, script, costs, finished, record)
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
    """Return the options with the script's number of steps as the only limit.

    Prompts are computed from the start of a run, without a request of the schedule.
    """
    most = len(script) + (1 if script.ends else 0)
    return replace(options, prefill=False, max_steps=most, max_tokens=_UNLIMITED)


def _replica(clock: Clock, devices: Devices) -> dict[Role, Device]:
    target = Device(clock, devices)
    return {"target": target, "draft": target if devices.colocated else Device(clock, devices)}
